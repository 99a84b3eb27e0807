//! Fixtures for tests: peers, calls, a policy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_authz::{Caller, Methods, Permit, Policy, decide};
use avouch_spiffe::{PeerIdentity, Reason};

use crate::entry::{Caller as Who, Refused, Why};

pub(crate) const STATUS: &str = "/avouch.observe.v1.Observe/GetStatus";

pub(crate) fn methods() -> Methods {
    Methods::new(&[crate::contract()]).unwrap()
}

pub(crate) fn peer(name: &str) -> Arc<PeerIdentity> {
    Arc::new(avouch_testkit::ca::peer(&format!("spiffe://shop.example/{name}"), name))
}

pub(crate) fn permit(peer: &PeerIdentity) -> Permit {
    let text = format!("[roles]\noperator = [\"{}\"]\n", peer.spiffe_id());
    let policy = Policy::load("policy.toml", &text, &methods()).unwrap();
    decide(&policy, Caller::from(peer), STATUS).unwrap()
}

/// A refusal that names itself by a number.
pub(crate) fn refused(number: usize) -> Refused {
    Refused {
        id: None,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64),
        audited: false,
        caller: Who::Anonymous,
        via: None,
        trace: None,
        why: Why::Service {
            method: "/avouch.issuer.v1.Issuer/Enroll".to_owned(),
            reason: Reason::NoMatchingEntry,
            detail: format!("number {number}"),
        },
        suppressed: 0,
    }
}
