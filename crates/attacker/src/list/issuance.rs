//! Attacks on the issuer: stolen tokens, requests for other identities, recoveries without a right.

use std::net::SocketAddr;

use super::{Made, made};
use crate::Error;
use crate::forge::{Credentials, Key};
use crate::grpc::{Attempt, Outcome};
use crate::issuer::{self, Recovery};

/// The material of the attacks.
#[derive(Debug)]
pub struct Loot {
    /// The trust domain.
    pub trust_domain: String,
    /// The secret of a token that was overheard: its owner uses it at the same moment.
    pub raced: String,
    /// The secret of a token that its owner has not used yet.
    pub unused: String,
    /// The identity of a workload without any role.
    pub intern: Credentials,
}

/// Tokens and requests.
///
/// # Errors
/// When the race for the overheard token has another end than one winner.
pub async fn enrolment(target: SocketAddr, loot: &Loot) -> Result<Vec<Made>, Error> {
    let id = |path: &str| format!("spiffe://{}/{path}", loot.trust_domain);
    let (owner, thief, late) = (Key::generate()?, Key::generate()?, Key::generate()?);
    let (first, second) = tokio::join!(
        issuer::enroll(target, &loot.raced, &owner, &[]),
        issuer::enroll(target, &loot.raced, &thief, &[]),
    );
    let loser = loser(first, second)?;
    let used = issuer::enroll(target, &loot.raced, &late, &[]).await;
    let unknown = issuer::enroll(target, "a-secret-that-nobody-gave-out", &late, &[]).await;
    let other = issuer::enroll(target, &loot.unused, &late, &[&id("payments")]).await;
    let issuers = issuer::enroll(target, &loot.unused, &late, &[&id("avouch/issuer")]).await;
    let renewed = issuer::renew(target, Some(&loot.intern), &[&id("payments")]).await;
    let nobody = issuer::renew(target, None, &[]).await;
    Ok(made([
        ("a token raced by two: the loser", "JOIN_TOKEN_ALREADY_USED", Ok(loser)),
        ("a used join token, with a third key", "JOIN_TOKEN_ALREADY_USED", used),
        ("a token nobody gave out", "JOIN_TOKEN_INVALID", unknown),
        ("a request for somebody else", "CSR_IDENTITY_MISMATCH", other),
        ("a request for the issuer's own identity", "CSR_IDENTITY_MISMATCH", issuers),
        ("a renewal for somebody else", "CSR_IDENTITY_MISMATCH", renewed),
        ("a renewal without a certificate", "NO_PEER_IDENTITY", nobody),
    ]))
}

/// Of two who used one token at the same moment, the one who did not get a certificate.
fn loser(first: Result<Attempt, Error>, second: Result<Attempt, Error>) -> Result<Attempt, Error> {
    let (first, second) = (first?, second?);
    match (first.outcome.got_through(), second.outcome.got_through()) {
        (true, false) => Ok(second),
        (false, true) => Ok(first),
        (both, _) => {
            Err(format!("{} got a certificate for one token", if both { "both" } else { "nobody" }).into())
        }
    }
}

/// An identity that was enrolled to be left alone until it has expired.
#[derive(Debug)]
pub struct Sleeper {
    credentials: Credentials,
    key: Key,
}

impl Sleeper {
    /// Enrols with a token of its own.
    ///
    /// # Errors
    /// When the issuer refuses.
    pub async fn enrol(target: SocketAddr, secret: &str) -> Result<Self, Error> {
        let key = Key::generate()?;
        let attempt = issuer::enroll(target, secret, &key, &[]).await?;
        let credentials = issuer::granted(&attempt, &key)?;
        let credentials = credentials.ok_or_else(|| format!("not enrolled: {attempt:?}"))?;
        Ok(Self { credentials, key })
    }
}

/// What is tried with identities that have expired: `gone` for longer than its entry's window, `asleep` within it.
///
/// # Errors
/// When the attacks can't be made, or a rightful recovery beside them is refused.
pub async fn recovery(target: SocketAddr, asleep: &Sleeper, gone: &Sleeper) -> Result<Vec<Made>, Error> {
    let mut late = Recovery::begin(target).await?;
    let late = late.send(&late.prove(&gone.credentials, &gone.key)?).await;

    let mut keyless = Recovery::begin(target).await?;
    let keyless = keyless.send(&keyless.prove(&asleep.credentials, &Key::generate()?)?).await;

    let (overheard, mut thief) = (Recovery::begin(target).await?, Recovery::begin(target).await?);
    let elsewhere = thief.send(&overheard.prove(&asleep.credentials, &asleep.key)?).await;

    let mut victim = Recovery::begin(target).await?;
    let proof = victim.prove(&asleep.credentials, &asleep.key)?;
    let rightful = victim.send(&proof).await?;
    if !rightful.outcome.got_through() {
        return Err(format!("a rightful recovery is refused: {}", what(&rightful)).into());
    }
    let replayed = victim.send(&proof).await;
    Ok(made([
        ("recovery after the window", "RECOVERY_WINDOW_OVER", late),
        ("recovery with the wrong key", "CERT_SIGNATURE_INVALID", keyless),
        ("recovery recorded on another connection", "CERT_SIGNATURE_INVALID", elsewhere),
        ("recovery replayed on its own connection", "CERT_SIGNATURE_INVALID", replayed),
    ]))
}

fn what(attempt: &Attempt) -> &str {
    match &attempt.outcome {
        Outcome::Answered(answer) => &answer.text,
        Outcome::Disconnected { text, .. } => text,
    }
}
