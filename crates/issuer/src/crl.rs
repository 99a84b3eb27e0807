//! The published certificate revocation lists: one of each signing authority, and one of the root.
//!
//! *Specification*: RFC 5280 §3.3 and §5.2.3: a revoked certificate stays on the list until it has been on one beyond its
//! end; CRL numbers grow. *Enforced here*: entries stay for as long as a list is valid after the certificate has ended, and
//! at least one list is issued in that time; a number is the generation and a counter, and generations never go back (ADR
//! 5). A list is made at each change of the revocations, and in time before its next update. Signing is off the async
//! threads, since a list may have 100,000 entries.
//!
//! Two signing authorities may be in use: certificates of the one before live on for a while. A certificate's record does
//! not say which of the two signed it, so every list has all entries: serial numbers are unique among them.

use crate::authorities::AuthoritiesError;
use crate::issuance::Issuance;
use crate::store::{RevokedCertificate, StoreError};
use avouch_api::admin::v1 as admin;
use avouch_issuance::{CaError, CrlContent, CrlEntry, CrlReason, SigningAuthority};
use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Generation, RevocationKey, Revocations};
use avouch_text::{hex, with_causes};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// The time for which a list is valid. Another one is made after half of it at the latest, so that whoever fetches lists
/// has half a day for it.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// The time by which lists are put back, so that a verifier whose clock is a little behind takes them.
const BACKDATE: Duration = Duration::from_secs(60);
/// How often it is looked whether a list is due. A look costs nothing, and clocks are set.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long `GetCrls` waits for the lists of what has just been revoked.
const FRESH_WITHIN: Duration = Duration::from_secs(10);

/// A failure to make the lists.
#[derive(Debug, thiserror::Error)]
enum CrlError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the list of a signing authority cannot be signed")]
    Signing(#[from] CaError),
    #[error("the list of the root cannot be signed")]
    Root(#[from] AuthoritiesError),
    #[error("making the lists has failed")]
    Task(#[from] tokio::task::JoinError),
}

/// The lists of one moment.
#[derive(Debug, Default)]
struct Lists {
    /// The trust state that they agree with.
    generation: Generation,
    /// The key identifier of the signing authority that was in use.
    signing: Option<String>,
    made_at: Option<SystemTime>,
    /// The number within the epoch.
    count: u32,
    lists: Vec<SignedList>,
}

#[derive(Debug)]
struct SignedList {
    authority: String,
    issuer: String,
    der: Vec<u8>,
}

/// What is published, kept up to date by [`run`].
#[derive(Debug)]
pub(crate) struct Crls(watch::Sender<Arc<Lists>>);

impl Crls {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }

    /// The lists for the administrator, which agree with this generation or a later one. If none are made in time, the
    /// latest ones there are.
    pub(crate) async fn get(&self, at_least: Generation) -> Vec<admin::Crl> {
        let mut lists = self.0.subscribe();
        let fresh = lists.wait_for(|lists| !lists.lists.is_empty() && lists.generation >= at_least);
        let _ = tokio::time::timeout(FRESH_WITHIN, fresh).await; // stale ones say so by their dates
        let lists = Arc::clone(&self.0.borrow());
        let shown = |list: &SignedList| admin::Crl {
            authority: list.authority.clone(),
            issuer: list.issuer.clone(),
            der: list.der.clone(),
            path: String::new(),
        };
        lists.lists.iter().map(shown).collect()
    }

    /// Whether other lists have to be made, though nothing was revoked.
    fn is_due(&self, signing: &SigningAuthority, now: SystemTime) -> bool {
        let lists = self.0.borrow();
        // In the future: the clock was set back, and verifiers would refuse the lists as not yet valid.
        let in_time = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < VALIDITY / 2);
        lists.signing.as_deref() != signing.certificate().key_id() || !lists.made_at.is_some_and(in_time)
    }
}

/// Publishes the lists, now and whenever others are due. Never ends.
pub(crate) async fn run(crls: Arc<Crls>, issuance: Arc<Issuance>) {
    let mut changes = issuance.trust.subscribe();
    loop {
        let (generation, revocations) = {
            let published = changes.borrow_and_update();
            (published.generation(), Arc::clone(&published.state.revocations))
        };
        if let Err(error) = publish(&crls, &issuance, generation, revocations).await {
            tracing::error!(error = %with_causes(&error), "no other revocation lists are published");
            tokio::time::sleep(RETRY_AFTER).await;
            continue;
        }
        loop {
            tokio::select! {
                // A change first: looking is for what nobody tells of.
                biased;
                changed = changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return, // the issuer has ended
                },
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if crls.is_due(&issuance.authorities.signing(), issuance.clock.now()) {
                        break;
                    }
                }
            }
        }
    }
}

async fn publish(
    crls: &Crls,
    issuance: &Arc<Issuance>,
    generation: Generation,
    revocations: Arc<Revocations>,
) -> Result<(), CrlError> {
    let now = issuance.clock.now();
    let ended_after = now.checked_sub(VALIDITY).unwrap_or(SystemTime::UNIX_EPOCH);
    let revoked = issuance.store.revoked_certificates(now, ended_after).await?;
    let count = crls.0.borrow().count.saturating_add(1);
    let number = number(generation, count);
    let at_work = Arc::clone(issuance);
    let made = tokio::task::spawn_blocking(move || sign(&at_work, revoked, &revocations, number, now));
    let (signing, lists) = made.await??;
    tracing::debug!(%generation, lists = lists.len(), "revocation lists published");
    crls.0.send_replace(Arc::new(Lists { generation, signing, made_at: Some(now), count, lists }));
    Ok(())
}

/// The CRL number: no two lists have the same one, and later lists have greater ones, after a restart as well.
fn number(generation: Generation, count: u32) -> u128 {
    u128::from(generation.epoch) << 64 | u128::from(generation.counter) << 32 | u128::from(count)
}

/// Signs every list. To be called off the async threads.
fn sign(
    issuance: &Issuance,
    revoked: Vec<RevokedCertificate>,
    revocations: &Revocations,
    number: u128,
    now: SystemTime,
) -> Result<(Option<String>, Vec<SignedList>), CrlError> {
    let authorities = &issuance.authorities;
    let this_update = now.checked_sub(BACKDATE).unwrap_or(now);
    let content = |entries| CrlContent { number, this_update, next_update: now + VALIDITY, entries };
    let of_leaves = content(revoked.iter().filter_map(leaf_entry).collect());
    let current = authorities.signing();
    let previous = authorities.previous_signing().filter(|before| {
        // The same one after a renewal that failed half-way.
        before.not_after() > now && before.certificate().sha256() != current.certificate().sha256()
    });
    let mut lists = Vec::new();
    let mut of_authorities = Vec::new();
    for signing in [Some(Arc::clone(&current)), previous].into_iter().flatten() {
        lists.push(listed(signing.certificate(), signing.sign_crl(&of_leaves)?));
        of_authorities.extend(authority_entry(&signing, revocations, now));
    }
    if let Some(der) = authorities.root_crl(of_authorities, number, this_update)? {
        lists.push(listed(authorities.root(), der));
    }
    Ok((current.certificate().key_id().map(str::to_owned), lists))
}

fn listed(authority: &Authority, der: Vec<u8>) -> SignedList {
    let key_id = authority.key_id().unwrap_or_default();
    SignedList { authority: key_id.to_owned(), issuer: authority.subject().to_owned(), der }
}

fn leaf_entry(revoked: &RevokedCertificate) -> Option<CrlEntry> {
    Some(CrlEntry { serial: octets(&revoked.serial)?, revoked_at: revoked.revoked_at, reason: None })
}

/// The entry of a signing authority that is revoked itself.
fn authority_entry(
    signing: &SigningAuthority,
    revocations: &Revocations,
    now: SystemTime,
) -> Option<CrlEntry> {
    let key_id = signing.certificate().key_id()?;
    revocations.get(&RevocationKey::authority(signing.trust_domain(), key_id))?;
    let serial = octets(signing.certificate().serial())?;
    Some(CrlEntry { serial, revoked_at: now, reason: Some(CrlReason::CaCompromise) })
}

/// The octets of a serial number; `None`: the text is no serial number.
fn octets(serial: &str) -> Option<Vec<u8>> {
    hex::decode(serial).filter(|octets| (1..=20).contains(&octets.len()))
}

#[cfg(test)]
mod tests;
