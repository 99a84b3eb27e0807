//! The operations that are counted, with inputs that are the same in every process.
//!
//! Chains and times are fixed: certificates that are made anew differ by an octet here and there, and their signatures
//! take other ways through the arithmetic.

mod calls;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use avouch_authz::{Caller, Certificate, Methods, Policy, decide};
use avouch_identity::TrustStore;
use avouch_issuance::{Entropy, EntropyError, PrivateKey, Profiles, Request, Root, SigningAuthority};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId};
use avouch_testkit::ca::{domain, id};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::mark;
use crate::echo::CONTRACT;
use crate::error::Error;
use crate::pki::Pki;
use crate::roles::{client, serve};

/// The method that is decided about.
const METHOD: &str = "/avouch.bench.v1.Echo/Unary";

/// A leaf for `spiffe://market.example/payments` and its signing authority, P-256 throughout, valid for a year around
/// [`now`]. Nobody has the keys any more.
const CHAIN: [&[u8]; 2] = [include_bytes!("chain/leaf.der"), include_bytes!("chain/authority.der")];

/// The root above them.
const ROOT: &[u8] = include_bytes!("chain/root.der");

/// How often an operation is done before it is counted.
const WARM_UP: u32 = 16;

/// How many callers take turns, so that a look-up is not always the same one.
const CALLERS: usize = 16;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `decide` about a caller that the policy names.
    DecideExact,
    /// `decide` about a caller below a path that the policy names.
    DecidePattern,
    /// `decide` about a caller whose role depends on its certificate.
    DecideCondition,
    /// `decide` about a caller without the role.
    DecideRefused,
    /// The verification of a chain of leaf and signing authority, without that of the handshake's signature.
    Verify,
    /// An issuance, from the request to the SVID that was checked again.
    Issue,
    /// A unary call by tonic over mutual TLS.
    CallTonic,
    /// A unary call by avouch, with identity and role check.
    CallAvouch,
}

impl Operation {
    /// The operations that the gate guards.
    pub const GUARDED: [Self; 5] =
        [Self::DecideExact, Self::DecidePattern, Self::DecideCondition, Self::DecideRefused, Self::Verify];

    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::DecideExact,
        Self::DecidePattern,
        Self::DecideCondition,
        Self::DecideRefused,
        Self::Verify,
        Self::Issue,
        Self::CallTonic,
        Self::CallAvouch,
    ];

    /// Those that are calls; the last of [`Self::ALL`].
    pub const CALLS: [Self; 2] = [Self::CallTonic, Self::CallAvouch];

    /// Its name in tables and in the file of recorded counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DecideExact => "decide-exact",
            Self::DecidePattern => "decide-pattern",
            Self::DecideCondition => "decide-condition",
            Self::DecideRefused => "decide-refused",
            Self::Verify => "verify",
            Self::Issue => "issue",
            Self::CallTonic => "call-tonic",
            Self::CallAvouch => "call-avouch",
        }
    }

    /// How often it is done: a multiple of `CALLERS`, and no more than valgrind does in about a second.
    #[must_use]
    pub fn times(self) -> u32 {
        match self {
            Self::DecideExact | Self::DecidePattern | Self::DecideCondition | Self::DecideRefused => 160,
            Self::Verify | Self::Issue => 16,
            Self::CallTonic | Self::CallAvouch => 160,
        }
    }

    /// Prepares the operation.
    pub(crate) fn prepare(self, input: &Input) -> Result<Prepared, Error> {
        let named = |path: &'static str| move |_: usize| path.to_owned();
        match self {
            Self::DecideExact => decision(named("/caller"), None, true),
            Self::DecidePattern => decision(|at| format!("/batch/job-{at}"), None, true),
            Self::DecideCondition => decision(named("/pinned"), Some(PIN), true),
            Self::DecideRefused => decision(|at| format!("/orders-{at}"), None, false),
            Self::Verify => verification(),
            Self::Issue => issuance(),
            Self::CallTonic => calls::unary(input, serve::Kind::Tonic, client::Kind::Tonic),
            Self::CallAvouch => calls::unary(input, serve::Kind::Avouch, client::Kind::Avouch),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What calls need; other operations need nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Input {
    /// The certificates of both ends.
    pub pki: Option<Pki>,
    /// The server; absent: one on the same thread.
    pub address: Option<SocketAddr>,
}

/// An operation that can be done.
pub(crate) trait Operate {
    /// Does it once.
    ///
    /// # Errors
    /// Why it failed.
    fn operate(&mut self) -> Result<(), Error>;

    /// Marks the beginning of what is counted.
    ///
    /// # Errors
    /// Why that failed.
    fn begin(&mut self) -> Result<(), Error> {
        mark();
        Ok(())
    }

    /// Marks its end.
    ///
    /// # Errors
    /// Why that failed.
    fn end(&mut self) -> Result<(), Error> {
        mark();
        Ok(())
    }
}

impl<F: FnMut() -> Result<(), Error>> Operate for F {
    fn operate(&mut self) -> Result<(), Error> {
        self()
    }
}

/// An operation, ready to be done as often as is wanted.
pub(crate) type Prepared = Box<dyn Operate>;

/// Does an operation so often that all is initialized, and then `times` times between two marks.
///
/// # Errors
/// The first failure.
pub(crate) fn count(operation: &mut dyn Operate, times: u32) -> Result<(), Error> {
    (0..WARM_UP).try_for_each(|_| operation.operate())?;
    operation.begin()?;
    (0..times).try_for_each(|_| operation.operate())?;
    operation.end()
}

/// The time of all decisions, verifications and issuances.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// An error that ends the run.
fn failed(error: &dyn std::error::Error) -> Error {
    Error::other(avouch_text::with_causes(error).to_string())
}

/// The SHA-256 of the key of the caller at `/pinned`.
const PIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn policy() -> Result<Policy, Error> {
    let line = |path: &str| format!("\"{}\"", id(path));
    let text = format!(
        "[roles]\ncaller = [{}, \"{}/*\", {{ caller = {}, max_certificate_age = \"1h\", spki_sha256 = \"{PIN}\" }}]\n\
         [[deny]]\ncaller = {}\nmethods = [\"{METHOD}\"]\n",
        line("/caller"),
        id("/batch"),
        line("/pinned"),
        line("/staff/mallory"),
    );
    let methods = Methods::new(&[&CONTRACT]).map_err(|error| failed(&error))?;
    Policy::load("policy.toml", &text, &methods).map_err(|error| failed(&error))
}

fn decision(
    path: impl Fn(usize) -> String,
    pin: Option<&'static str>,
    allowed: bool,
) -> Result<Prepared, Error> {
    let policy = policy()?;
    let callers: Vec<SpiffeId> = (0..CALLERS).map(|at| id(&path(at))).collect();
    let mut turns = (0..callers.len()).cycle();
    Ok(Box::new(move || {
        let Some(caller) = turns.next().and_then(|at| callers.get(at)) else {
            return Err(Error::other("no callers"));
        };
        let caller = match pin {
            None => Caller::Peer(caller),
            Some(_) => {
                let certificate = Certificate {
                    not_before: Some(now() - Duration::from_secs(60)),
                    now: Some(now()),
                    spki_sha256: pin,
                    ..Certificate::default()
                };
                Caller::Certified(caller, certificate)
            }
        };
        match decide(&policy, caller, METHOD) {
            Ok(_) if allowed => Ok(()),
            Err(_) if !allowed => Ok(()),
            decision => Err(Error::other(format!("decided otherwise: {decision:?}"))),
        }
    }))
}

fn verification() -> Result<Prepared, Error> {
    let chain = CHAIN.map(CertificateDer::from);
    let bundle = Bundle::from_ders(domain(), &[ROOT.to_vec()], 1).map_err(|error| failed(&error))?;
    let mut bundles = BundleSet::new();
    bundles.insert(bundle);
    let trust = TrustStore::new(bundles);
    Ok(Box::new(move || {
        let verdict = trust.verify(&chain, None, now());
        verdict.map(drop).map_err(|error| failed(&error))
    }))
}

/// A source that gives the same serial number each time.
#[derive(Debug)]
struct Same;

impl Entropy for Same {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill(7);
        Ok(())
    }
}

fn issuance() -> Result<Prepared, Error> {
    let key = || PrivateKey::generate().map_err(|error| failed(&error));
    let profiles = Profiles::embedded().map_err(|error| failed(&error))?;
    let root =
        Root::create(&domain(), &profiles.root, key()?, now(), &Same).map_err(|error| failed(&error))?;
    let authority = SigningAuthority::create(&root, &profiles.signing_authority, key()?, now(), &Same);
    let authority = authority.map_err(|error| failed(&error))?;
    let (holder, workload) = (key()?, id("/payments"));
    Ok(Box::new(move || {
        let request = Request::for_own_key(&holder, workload.clone());
        let checked = request.check(&profiles.svid, &authority, now(), &Same);
        let issued = checked.and_then(|checked| checked.sign(&authority));
        issued.map(drop).map_err(|error| failed(&error))
    }))
}
