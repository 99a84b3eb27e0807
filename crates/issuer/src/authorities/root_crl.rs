//! The root's revocation list, kept in a file, since the root's key may be elsewhere for most of the time.
//!
//! It is signed again at half of its validity and when what it names changes, if the key is there; if not, the one on
//! disk stays in use.

use super::AuthoritiesError;
use avouch_files::PrivateDir;
use avouch_issuance::{CrlContent, CrlEntry, PrivateKey, Root};
use avouch_spiffe::TrustDomain;
use avouch_spiffe::x509::{Authority, RevocationList};
use std::time::{Duration, SystemTime};

pub(super) const FILE: &str = "root.crl";
/// Long, since the key has to be brought for each list; what the list names are signing authorities, which change seldom.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The list on disk if it will do, or another one.
pub(super) fn current(
    dir: &PrivateDir,
    root: &Authority,
    load_key: impl FnOnce() -> Result<Option<(TrustDomain, PrivateKey)>, AuthoritiesError>,
    entries: Vec<CrlEntry>,
    number: u128,
    this_update: SystemTime,
) -> Result<Option<Vec<u8>>, AuthoritiesError> {
    let stored = dir.read_public(FILE)?;
    // A damaged one, or one of another root, is as good as none.
    let stored = stored.and_then(|der| Some((RevocationList::parse(&der).ok()?, der)));
    let stored = stored.filter(|(list, _)| list.is_signed_by(root));
    if stored.as_ref().is_some_and(|(list, _)| will_do(list, &entries, this_update)) {
        return Ok(stored.map(|(_, der)| der));
    }
    let Some((trust_domain, key)) = load_key()? else {
        let valid_until = stored.as_ref().and_then(|(list, _)| list.next_update());
        tracing::warn!(
            key = %dir.file(super::ROOT_KEY).display(),
            valid_until = valid_until.map(avouch_time::rfc3339),
            "the root's revocation list is not renewed: the root's key is away; put it there for a moment"
        );
        return Ok(stored.map(|(_, der)| der));
    };
    let failed = |source| AuthoritiesError::Authority { path: dir.file(FILE), source };
    let root = Root::load(&trust_domain, root.der(), key).map_err(failed)?;
    let content = CrlContent { number, this_update, next_update: this_update + VALIDITY, entries };
    let der = root.sign_crl(&content).map_err(failed)?;
    dir.write_public(FILE, &der)?;
    Ok(Some(der))
}

/// Whether a list names what it should, is valid at this time, and has half of its validity left.
fn will_do(list: &RevocationList, entries: &[CrlEntry], at: SystemTime) -> bool {
    let left = list.next_update().and_then(|next| next.duration_since(at).ok()).unwrap_or_default();
    let named = |entry: &CrlEntry| {
        let serial = avouch_text::hex::encode(&entry.serial);
        list.entries().iter().any(|listed| listed.serial == serial)
    };
    left > VALIDITY / 2
        && list.this_update() <= at
        && list.entries().len() == entries.len()
        && entries.iter().all(named)
}
