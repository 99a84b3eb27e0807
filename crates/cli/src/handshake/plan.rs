//! What is to be tried.

use crate::roots::{OwnIdentity, Roots};
use avouch_identity::examine::Examination;
use avouch_spiffe::{HostPort, SpiffeId};
use avouch_time::clock;
use std::sync::Arc;

/// A server, and how to shake hands with it.
pub(crate) struct Plan {
    pub(crate) target: HostPort,
    pub(crate) identity: Option<OwnIdentity>,
    pub(crate) roots: Option<Roots>,
    pub(crate) expect: Option<SpiffeId>,
}

impl Plan {
    pub(super) fn examination(&self) -> Examination {
        let svid = self.identity.as_ref().map(|own| own.svid.clone());
        let examination =
            Examination::new(self.target.clone(), clock::system()).expect(self.expect.clone()).present(svid);
        match self.roots.clone() {
            Some(roots) => examination
                .roots(Arc::new(move |leaf: &[u8]| roots.judge(leaf).then(|| roots.store_for(leaf)))),
            None => examination,
        }
    }
}
