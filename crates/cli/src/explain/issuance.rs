//! A decision about a certificate: what the workload showed, which entry came nearest, and how it gets an identity.

use super::remedy::Remedy;
use super::vocabulary;
use avouch_api::observe::v1::Decision;
use avouch_fleet::Fleet;
use avouch_spiffe::{Reason, SpiffeId};

/// The remedy for a failed issuance. Also for calls of which nobody showed a policy: then the vocabulary's advice.
pub(super) fn remedy(fleet: &Fleet, record: &Decision) -> Remedy {
    let Ok(reason) = record.reason.parse::<Reason>() else { return Remedy::default() };
    let advice = vocabulary::remedy(reason);
    let Some(id) = subject(record) else { return Remedy::of(&advice) };
    let token = format!("`avouch token create {id}`");
    let entry = fleet.entries.iter().find(|entry| entry.spiffe_id == id.as_str());
    let own = match reason {
        Reason::NoMatchingEntry => Some(match entry {
            None => format!("{id} is not registered: `avouch entry add {id}`, then {token}"),
            Some(entry) => format!(
                "{id} is registered (since {}), and what the workload showed belongs to an earlier registration: let it \
                 join again with {token}, and remove its old identity directory first",
                entry.created_at
            ),
        }),
        Reason::RecoveryWindowOver
        | Reason::JoinTokenInvalid
        | Reason::JoinTokenExpired
        | Reason::JoinTokenAlreadyUsed => Some(format!("a new token for {id}: {token}")),
        _ => None,
    };
    let mut remedy = Remedy::of(&own.unwrap_or_else(|| advice.clone()));
    if reason == Reason::JoinTokenAlreadyUsed {
        remedy.advice.push(format!("who has used it: `avouch cert list --all --id {id}`"));
    } else if reason == Reason::StoreUnavailable {
        remedy.advice.push("`avouch check --only storage`".to_owned());
    }
    remedy
}

/// The owner of the certificate in question: named in the detail, else the caller.
pub(super) fn subject(record: &Decision) -> Option<SpiffeId> {
    let words = record.detail.split(|c: char| c.is_whitespace() || "\"'`,;()[]".contains(c));
    let named = words.filter(|word| word.starts_with("spiffe://"));
    let mut named = named.map(|word| word.trim_end_matches([':', '.']));
    named.find_map(|word| word.parse().ok()).or_else(|| record.peer.parse().ok())
}
