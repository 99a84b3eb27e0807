//! Why was it refused? What the processes remember of a decision or a connection, put together with what they are now.
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
mod subject;
mod vocabulary;

#[cfg(test)]
mod tests;

use crate::fleet::Fleet;
use serde_json::{Value, json};

pub(crate) use missing::Missing;
pub(crate) use subject::{Moment, Peer, What};

/// An answer, for people and for programs.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) text: String,
    pub(crate) json: Value,
}

/// What needs nobody to be asked: a check's page, a reason's section.
pub(crate) fn offline(what: &What) -> Option<Explanation> {
    match what {
        What::Check(id) => {
            let text = crate::checks::page(id)?;
            let json = json!({ "kind": "check", "id": id, "text": text });
            Some(Explanation { text, json })
        }
        What::Reason(reason) => Some(vocabulary::explain(*reason)),
        What::Decision(_) | What::Connection(_) | What::Peer(_) => None,
    }
}

/// What `fleet` knows of `what`.
///
/// # Errors
/// [`Missing`], saying who was asked and who did not answer, if nobody has a record of it.
pub(crate) fn explain(fleet: &Fleet, what: &What) -> Result<Explanation, Missing> {
    let found: Vec<Explanation> = match what {
        What::Check(_) | What::Reason(_) => offline(what).into_iter().collect(),
        What::Decision(id) => {
            find::decisions(fleet, id).iter().map(|found| decision::explain(fleet, found)).collect()
        }
        What::Connection(id) => {
            find::connections(fleet, id).iter().map(|found| connection::explain(fleet, found, &[])).collect()
        }
        What::Peer(peer) => find::of_peer(fleet, peer)
            .map(|(nearest, others)| connection::explain(fleet, &nearest, &others))
            .into_iter()
            .collect(),
    };
    // An id is made at random by each process; whoever claims to have the same one is shown beside it.
    let mut found = found.into_iter();
    let first = found.next().ok_or_else(|| Missing::of(fleet, what))?;
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
