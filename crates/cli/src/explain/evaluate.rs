//! Decides here as the asked process decides there: by the policy texts and the contract that it showed.

use crate::contract;
use crate::fleet::Fleet;
use avouch_api::observe::v1::{GetPolicyResponse, Policy as Said};
use avouch_authz::{Caller, Denial, Policy, Subject, decide, matrix};
use avouch_spiffe::SpiffeId;
use std::collections::BTreeSet;

/// A caller of a record, or one that a policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    Peer(SpiffeId),
    LocalAdmin,
    Anonymous,
}

/// A policy that was, is or may be in force.
pub(super) struct Rules<'a> {
    pub(super) said: &'a Said,
    pub(super) policy: Policy,
}

/// The policies of one process.
pub(super) struct Policies<'a> {
    pub(super) current: Rules<'a>,
    pub(super) previous: Option<Rules<'a>>,
}

/// Who may call what now, and may not before.
pub(super) type Gains = Vec<(Asker, &'static str)>;

impl Asker {
    /// As records name callers.
    pub(super) fn of_record(peer: &str) -> Option<Self> {
        match peer {
            "local-admin" => Some(Self::LocalAdmin),
            "anonymous" => Some(Self::Anonymous),
            id => id.parse().ok().map(Self::Peer),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Peer(id) => id.as_str(),
            Self::LocalAdmin => "local-admin",
            Self::Anonymous => "anonymous",
        }
    }

    pub(super) fn caller(&self) -> Caller<'_> {
        match self {
            Self::Peer(id) => Caller::Peer(id),
            Self::LocalAdmin => Caller::LocalAdmin,
            Self::Anonymous => Caller::Anonymous,
        }
    }
}

impl<'a> Policies<'a> {
    /// Reads what a process showed; none if it showed nothing.
    pub(super) fn read(answer: &'a GetPolicyResponse) -> Option<Result<Self, String>> {
        let current = answer.current.as_ref()?;
        let methods = match contract::methods(&answer.methods) {
            Ok(methods) => methods,
            Err(error) => return Some(Err(error.to_string())),
        };
        let parse = |said: &'a Said| {
            let policy =
                Policy::parse(&said.source, &said.text, &methods).map_err(|error| error.to_string())?;
            Ok(Rules { said, policy })
        };
        // A previous policy that cannot be read any more only cannot be compared with.
        let previous = answer.previous.as_ref().and_then(|said| parse(said).ok());
        Some(parse(current).map(|current| Self { current, previous }))
    }
}

impl Rules<'_> {
    /// The role it is allowed by, if it takes one.
    pub(super) fn decide(&self, asker: &Asker, path: &str) -> Result<Option<&'static str>, Denial> {
        decide(&self.policy, asker.caller(), path).map(|permit| permit.role())
    }

    /// Who holds `role`, as written.
    pub(super) fn holders(&self, role: &str) -> Vec<String> {
        let rows = matrix(&self.policy).rows;
        let row = rows.into_iter().find(|row| matches!(row.subject, Subject::Role(name) if name == role));
        row.map(|row| row.callers).unwrap_or_default()
    }

    /// This policy with another text.
    pub(super) fn changed(&self, text: &str) -> Result<Policy, String> {
        Policy::parse(&self.said.source, text, self.policy.methods()).map_err(|error| error.to_string())
    }
}

/// Everybody whom a change could concern: whom the policy names, one unnamed below each of its prefixes, everybody who
/// is registered or running, and those without a name.
pub(super) fn everybody(fleet: &Fleet, policy: &Policy, asker: &Asker) -> BTreeSet<Asker> {
    let table = matrix(policy);
    let bound = table.rows.into_iter().flat_map(|row| row.callers);
    let written = bound.chain(table.denies.into_iter().map(|deny| deny.caller));
    let named = written.map(|caller| match caller.strip_suffix("/*") {
        Some(parent) => format!("{parent}/somebody-below"),
        None => caller,
    });
    let entries = fleet.entries.iter().map(|entry| entry.spiffe_id.clone());
    let members = fleet.members.iter().map(|member| member.workload.spiffe_id.clone());
    let peers = named.chain(entries).chain(members).filter_map(|id| id.parse().ok()).map(Asker::Peer);
    peers.chain([asker.clone(), Asker::LocalAdmin, Asker::Anonymous]).collect()
}

/// What each of `askers` may call under `after` and may not under `before`.
pub(super) fn gains(before: &Policy, after: &Policy, askers: &BTreeSet<Asker>) -> Gains {
    let paths = after.methods().iter().map(|method| method.path);
    let cells = paths.flat_map(|path| askers.iter().map(move |asker| (asker, path)));
    let may = |policy: &Policy, asker: &Asker, path: &str| decide(policy, asker.caller(), path).is_ok();
    let gained = cells.filter(|(asker, path)| may(after, asker, path) && !may(before, asker, path));
    gained.map(|(asker, path)| (asker.clone(), path)).collect()
}
