//! Every check there is, each with its page.

use super::check::Check;
use super::{
    certificate, clock, identity, issuer, policy, records, revocation, shares, storage, transport, trust,
};
use crate::output;

/// Every check, by category, then by id.
pub(crate) fn catalogue() -> impl Iterator<Item = &'static Check> {
    [
        issuer::CHECKS,
        clock::CHECKS,
        identity::CHECKS,
        trust::CHECKS,
        revocation::CHECKS,
        policy::CHECKS,
        transport::CHECKS,
        shares::CHECKS,
        storage::CHECKS,
        records::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// The page of an id: of a check, or of an item of `avouch cert inspect`.
pub(crate) fn page(id: &str) -> Option<String> {
    let id = id.to_ascii_uppercase();
    match catalogue().find(|check| check.id == id) {
        Some(check) => Some(page_of(check)),
        None => certificate::page(&id),
    }
}

/// Every id that has a [`page`].
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    catalogue().map(|check| check.id).chain(certificate::ITEMS.iter().map(|item| item.id))
}

fn page_of(check: &Check) -> String {
    let mut text = format!("{} ({}): {}\n\n", check.id, check.category.name(), check.title);
    text.push_str(&output::paragraph("It means: ", check.meaning));
    text.push_str(&output::paragraph("What to do: ", check.remedy));
    if !check.causes.is_empty() {
        let of = |id: &&str| catalogue().find(|check| check.id == *id).map(|check| check.title);
        text.push_str("Look first at what may have caused it:\n");
        for id in check.causes {
            text.push_str(&format!("  {id}  {}\n", of(id).unwrap_or_default()));
        }
    }
    text
}
