//! Issuance without a network and a store, on one thread: the two signature operations alone, or the issuance crate.

use std::time::{Duration, Instant};

use avouch_issuance::{
    Csr, PrivateKey, Profiles, Request, Root, SigningAuthority, SvidProfile, SystemEntropy,
};
use avouch_spiffe::SpiffeId;
use avouch_testkit::ca::{domain, id};
use avouch_time::clock::{self, SharedClock};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, Signature,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

use super::renew::requests;
use super::{Commands, say};
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "sign";

/// Different requests, so that no cache of one key's arithmetic helps.
const REQUESTS: usize = 256;

/// What is done for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A signature is verified and one is made, nothing else: what no issuer can do without.
    Primitives,
    /// The issuance crate: from the request's bytes to a certificate that was checked again.
    Crate,
}

/// A command: to issue.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// What is done for each certificate.
    pub kind: Kind,
    /// For how long.
    pub milliseconds: u64,
}

/// The options of the role: none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {}

/// What it says when it has made its keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// What was done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Certificates.
    pub issued: u32,
    /// In so many seconds.
    pub seconds: f64,
}

/// Issues as it is told until the input ends.
///
/// # Errors
/// When something is refused that has to work.
pub async fn run(Options {}: Options) -> Result<(), Error> {
    let (primitives, issuer) = (Primitives::new()?, Issuer::new()?);
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(Work { kind, milliseconds }) = commands.next().await? {
        let time = Duration::from_millis(milliseconds);
        let done = match kind {
            Kind::Primitives => repeat(time, |turn| primitives.once(turn)),
            Kind::Crate => repeat(time, |turn| issuer.once(turn)),
        };
        say(&done?)?;
    }
    Ok(())
}

fn repeat(time: Duration, mut once: impl FnMut(usize) -> Result<(), Error>) -> Result<Done, Error> {
    let began = Instant::now();
    let mut issued = 0;
    while began.elapsed() < time {
        once(usize::try_from(issued).unwrap_or_default())?;
        issued += 1;
    }
    Ok(Done { issued, seconds: began.elapsed().as_secs_f64() })
}

fn failed<E: std::fmt::Debug>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error::other(format!("{what}: {error:?}"))
}

/// Public keys with a signature each over a message of a request's size, and the key that signs.
struct Primitives {
    signer: EcdsaKeyPair,
    random: SystemRandom,
    proofs: Vec<(Vec<u8>, Signature)>,
    message: Vec<u8>,
}

impl Primitives {
    fn new() -> Result<Self, Error> {
        let (random, message) = (SystemRandom::new(), vec![7; 400]);
        let generate = || {
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed("a key cannot be made"))
        };
        let prove = |_| {
            let key = generate()?;
            let proof = key.sign(&random, &message).map_err(failed("a signature cannot be made"))?;
            Ok((key.public_key().as_ref().to_vec(), proof))
        };
        let proofs = (0..REQUESTS).map(prove).collect::<Result<_, Error>>()?;
        Ok(Self { signer: generate()?, random, proofs, message })
    }

    fn once(&self, turn: usize) -> Result<(), Error> {
        let (key, proof) =
            self.proofs.get(turn % REQUESTS).ok_or_else(|| Error::other("there is no such proof"))?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
        key.verify(&self.message, proof.as_ref()).map_err(failed("a proof does not hold"))?;
        let signature = self.signer.sign(&self.random, &self.message);
        std::hint::black_box(signature.map_err(failed("a signature cannot be made"))?);
        Ok(())
    }
}

/// The issuance crate with an authority, and requests for it.
struct Issuer {
    authority: SigningAuthority,
    profile: SvidProfile,
    clock: SharedClock,
    spiffe_id: SpiffeId,
    requests: Vec<Vec<u8>>,
}

impl Issuer {
    fn new() -> Result<Self, Error> {
        let profiles = Profiles::embedded().map_err(failed("the profiles"))?;
        let clock = clock::system();
        let key = || PrivateKey::generate().map_err(failed("a key cannot be made"));
        let root = Root::create(&domain(), &profiles.root, key()?, clock.now(), &SystemEntropy);
        let root = root.map_err(failed("the root"))?;
        let profile = &profiles.signing_authority;
        let authority = SigningAuthority::create(&root, profile, key()?, clock.now(), &SystemEntropy);
        let authority = authority.map_err(failed("the signing authority"))?;
        let (spiffe_id, requests) = (id("/workload"), requests(REQUESTS)?);
        Ok(Self { authority, profile: profiles.svid, clock, spiffe_id, requests })
    }

    fn once(&self, turn: usize) -> Result<(), Error> {
        let der =
            self.requests.get(turn % REQUESTS).ok_or_else(|| Error::other("there is no such request"))?;
        let csr = Csr::parse(der).map_err(failed("a request"))?;
        let request = Request::for_csr(&csr, self.spiffe_id.clone()).map_err(failed("a request"))?;
        let checked = request.check(&self.profile, &self.authority, self.clock.now(), &SystemEntropy);
        let issued = checked.map_err(failed("a request"))?.sign(&self.authority);
        std::hint::black_box(issued.map_err(failed("a certificate"))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_issue_and_are_counted() {
        let (primitives, issuer) = (Primitives::new().unwrap(), Issuer::new().unwrap());
        let time = Duration::from_millis(1);
        let done = repeat(time, |turn| primitives.once(turn + REQUESTS - 1)).unwrap();
        assert!(done.issued > 0 && done.seconds >= 0.001, "{done:?}");
        assert!(repeat(time, |turn| issuer.once(turn)).unwrap().issued > 0);
    }
}
