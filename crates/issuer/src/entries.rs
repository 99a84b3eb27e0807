//! What may be registered as an entry, and how join tokens for it are made.

use crate::attest::hash_token;
use crate::config::MAX_RECOVERY_WINDOW;
use crate::store::{By, Entry, NewEntry, NewToken, Store, StoreError};
use avouch_issuance::{DnsName, DnsNameError, SvidProfile};
use avouch_spiffe::{Bundle, JoinToken, JoinTokenError, SpiffeId, TrustDomain};
use avouch_time::duration;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// Life of a join token whose maker names none.
pub const DEFAULT_TOKEN_TTL: Duration = Duration::from_secs(600);
/// The longest life of a join token: one that stays valid for longer is in effect a password.
pub const MAX_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

/// An entry or a token that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The SPIFFE ID is of another trust domain.
    #[error("{id} is not of the trust domain {own}")]
    ForeignTrustDomain {
        /// The identity.
        id: SpiffeId,
        /// The issuer's trust domain.
        own: TrustDomain,
    },
    /// The SPIFFE ID has no path: it names the trust domain itself and no workload.
    #[error("{0} names the trust domain itself; add a path, as in {0}/orders")]
    NoPath(SpiffeId),
    /// The path is reserved for avouch's own processes.
    #[error("{0} is reserved: paths below /avouch belong to avouch itself")]
    Reserved(SpiffeId),
    /// A value is not a valid DNS name.
    #[error("{name:?} cannot be a DNS name of a certificate")]
    DnsName {
        /// The value that was given.
        name: String,
        /// The fault.
        source: DnsNameError,
    },
    /// Too many DNS names.
    #[error("{count} DNS names are more than the {max} that the profile allows")]
    TooManyDnsNames {
        /// The number of names that were given.
        count: usize,
        /// The number of names that are allowed.
        max: usize,
    },
    /// A duration is outside its bounds.
    #[error("{what} of {found} is not between {least} and {most}", found = duration::exact(*found),
            least = duration::exact(*least), most = duration::exact(*most))]
    OutOfBounds {
        /// The name of the quantity.
        what: &'static str,
        /// The value that was given.
        found: Duration,
        /// The least allowed.
        least: Duration,
        /// The most allowed.
        most: Duration,
    },
    /// The token cannot be composed.
    #[error("the join token cannot be made")]
    Token(#[from] JoinTokenError),
    /// The system's random generator failed.
    #[error("no random bytes are to be had")]
    NoRandomness,
    /// The store cannot answer.
    #[error("the store cannot answer")]
    Store(#[from] StoreError),
}

/// The rules for the entries of an issuer.
#[derive(Debug, Clone)]
pub struct EntryRules {
    /// The issuer's trust domain.
    pub trust_domain: TrustDomain,
    /// The profile of the certificates.
    pub profile: SvidProfile,
    /// The time for which expired certificates are remembered: no window can be longer.
    pub retention: Duration,
}

impl EntryRules {
    /// Refuses an entry for which no SVID could be issued.
    pub fn check(&self, entry: &NewEntry) -> Result<(), EntryError> {
        let id = &entry.spiffe_id;
        if *id.trust_domain() != self.trust_domain {
            return Err(EntryError::ForeignTrustDomain { id: id.clone(), own: self.trust_domain.clone() });
        }
        if id.is_root() {
            return Err(EntryError::NoPath(id.clone()));
        }
        if id.is_reserved() {
            return Err(EntryError::Reserved(id.clone()));
        }
        dns_names(&entry.dns_names)?;
        let (count, max) = (entry.dns_names.len(), self.profile.max_dns_names());
        if count > max {
            return Err(EntryError::TooManyDnsNames { count, max });
        }
        if let Some(ttl) = entry.svid_ttl {
            self.check_ttl("a certificate's life", ttl)?;
        }
        if let Some(window) = entry.recovery_window {
            let most = MAX_RECOVERY_WINDOW.min(self.retention);
            bounds("a recovery window", window, Duration::ZERO, most)?;
        }
        Ok(())
    }

    /// Whether the profile allows this life.
    pub fn check_ttl(&self, what: &'static str, ttl: Duration) -> Result<(), EntryError> {
        bounds(what, ttl, self.profile.min_lifetime(), self.profile.max_lifetime())
    }
}

fn bounds(what: &'static str, found: Duration, least: Duration, most: Duration) -> Result<(), EntryError> {
    if found < least || found > most {
        return Err(EntryError::OutOfBounds { what, found, least, most });
    }
    Ok(())
}

/// An entry's DNS names as the certificate takes them.
pub(crate) fn dns_names(names: &[String]) -> Result<Vec<DnsName>, EntryError> {
    names
        .iter()
        .map(|name| name.parse().map_err(|source| EntryError::DnsName { name: name.clone(), source }))
        .collect()
}

/// Makes a join token for an entry and keeps its hash. `None`: the entry has been deleted meanwhile.
pub(crate) async fn create_token(
    store: &dyn Store,
    entry: &Entry,
    ttl: Option<Duration>,
    issuer: &SpiffeId,
    bundle: &Bundle,
    by: By,
) -> Result<Option<(JoinToken, SystemTime)>, EntryError> {
    let ttl = ttl.unwrap_or(DEFAULT_TOKEN_TTL);
    bounds("a join token's life", ttl, Duration::from_secs(1), MAX_TOKEN_TTL)?;
    let random = Zeroizing::new(crate::random::bytes::<32>().map_err(|_| EntryError::NoRandomness)?);
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random));
    let pins = bundle.authorities().iter().map(|root| root.sha256()).collect();
    let token = JoinToken::new(secret.as_str(), issuer.clone(), pins)?;
    let expires_at = by.at + ttl;
    let record = NewToken { hash: hash_token(&secret), entry: entry.id, created_at: by.at, expires_at };
    Ok(store.create_token(record, by).await?.then_some((token, expires_at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_issuance::Profiles;

    fn entry(id: &str) -> NewEntry {
        NewEntry {
            spiffe_id: id.parse().unwrap(),
            svid_ttl: None,
            recovery_window: None,
            dns_names: Vec::new(),
            created_at: SystemTime::UNIX_EPOCH,
            revokes_forks: false,
            recovery_limit: None,
        }
    }

    fn refusal(entry: NewEntry) -> String {
        let rules = EntryRules {
            trust_domain: "market.example".parse().unwrap(),
            profile: Profiles::embedded().unwrap().svid,
            retention: Duration::from_secs(7 * 24 * 3600),
        };
        rules.check(&entry).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn an_ordinary_entry_is_fine() {
        let mut full = entry("spiffe://market.example/orders");
        full.svid_ttl = Some(Duration::from_secs(20));
        full.recovery_window = Some(Duration::ZERO);
        full.dns_names = vec!["localhost".to_owned(), "orders.market.example".to_owned()];
        assert_eq!((refusal(full), refusal(entry("spiffe://market.example/a/b/c"))), Default::default());
    }

    #[test]
    fn the_reserved_path_other_domains_and_bare_domains_are_refused() {
        for (id, part) in [
            ("spiffe://market.example/avouch/issuer", "reserved"),
            ("spiffe://market.example/avouch", "reserved"),
            ("spiffe://other.example/orders", "not of the trust domain market.example"),
            ("spiffe://market.example", "add a path"),
        ] {
            assert!(refusal(entry(id)).contains(part), "{id}: {}", refusal(entry(id)));
        }
        assert_eq!(refusal(entry("spiffe://market.example/avouchers")), "");
    }

    #[test]
    fn what_could_not_be_issued_later_is_refused_now() {
        let with = |change: fn(&mut NewEntry)| {
            let mut entry = entry("spiffe://market.example/orders");
            change(&mut entry);
            refusal(entry)
        };
        for (refusal, part) in [
            (with(|e| e.svid_ttl = Some(Duration::from_secs(1))), "life of 1s is not between"),
            (with(|e| e.svid_ttl = Some(Duration::from_secs(90 * 24 * 3600))), "life of 90d"),
            (with(|e| e.recovery_window = Some(Duration::from_secs(8 * 24 * 3600))), "window of 8d"),
            (with(|e| e.dns_names = vec!["no name".to_owned()]), "\"no name\" cannot be a DNS name"),
            (with(|e| e.dns_names = vec!["127.0.0.1".to_owned()]), "cannot be a DNS name"),
            (with(|e| e.dns_names = (0..40).map(|n| format!("n{n}.example")).collect()), "40 DNS names"),
        ] {
            assert!(refusal.contains(part), "{refusal:?} lacks {part:?}");
        }
    }
}
