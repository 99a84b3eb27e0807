//! Explains a refusal: the processes' records of a decision or a connection, combined with their present state.
//!
//! Pure: it works on a [`Fleet`] and asks nobody. What it shows of records comes from others and is escaped in
//! [`page`]; nothing of it is obeyed. A proposed change of a policy is only shown after it was tried on a copy.

mod chain;
mod connection;
mod decision;
mod edit;
mod evaluate;
mod find;
mod issuance;
mod missing;
mod page;
mod remedy;
mod revoked;
mod target;
mod vocabulary;

#[cfg(test)]
mod tests;

use avouch_fleet::Fleet;
use serde_json::{Value, json};

pub(crate) use missing::Missing;
pub(crate) use page::Explanation;
pub(crate) use target::{ExplainTarget, Moment, Peer};

/// The explanation that needs nobody to be asked: a check's page, a reason's section.
pub(crate) fn offline(target: &ExplainTarget) -> Option<Explanation> {
    match target {
        ExplainTarget::Check(id) => {
            let text = crate::checks::page(id)?;
            let json = json!({ "kind": "check", "id": id, "text": text });
            Some(Explanation { text, json })
        }
        ExplainTarget::Reason(reason) => Some(vocabulary::explain(*reason)),
        ExplainTarget::Decision(_) | ExplainTarget::Connection(_) | ExplainTarget::Peer(_) => None,
    }
}

/// The explanation of `target` by what `fleet` knows of it.
///
/// # Errors
/// [`Missing`], saying who was asked and who did not answer, if nobody has a record of it.
pub(crate) fn explain(fleet: &Fleet, target: &ExplainTarget) -> Result<Explanation, Missing> {
    let found: Vec<Explanation> = match target {
        ExplainTarget::Check(_) | ExplainTarget::Reason(_) => offline(target).into_iter().collect(),
        ExplainTarget::Decision(id) => find::decisions(fleet, &id.to_string())
            .iter()
            .map(|found| decision::explain(fleet, found))
            .collect(),
        ExplainTarget::Connection(id) => find::connections(fleet, &id.to_string())
            .iter()
            .map(|found| connection::explain(fleet, found, &[]))
            .collect(),
        ExplainTarget::Peer(peer) => find::of_peer(fleet, peer)
            .map(|(nearest, others)| connection::explain(fleet, &nearest, &others))
            .into_iter()
            .collect(),
    };
    // An id is made at random by each process; whoever claims to have the same one is shown beside it.
    let mut found = found.into_iter();
    let first = found.next().ok_or_else(|| Missing::of(fleet, target))?;
    Ok(found.fold(first, |all, next| Explanation {
        text: format!("{}\n{}", all.text, next.text),
        json: match all.json {
            Value::Array(mut list) => {
                list.push(next.json);
                list.into()
            }
            one => json!([one, next.json]),
        },
    }))
}
