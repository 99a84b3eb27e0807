//! The choice of what the files hold that comes into use: an SVID only with a bundle that vouches for it (ADR 6).
//!
//! Certificate and bundle are replaced one after the other, in either order. Whatever is held back is judged again at
//! every look, so a replacement of the authority ends well once both files are there:
//!
//! * bundle first: a bundle that vouches for the old certificate too (old and new root) comes into use at once. One that
//!   does not is held back until the certificate it vouches for is there, then both come into use together. Taken alone it
//!   would leave the process with an SVID that its own bundle rejects: mostly the wrong file. It is held back no longer
//!   than the SVID in use is valid: whoever removes a root because its key is stolen replaces the certificates that it vouches
//!   for as well, and restarts what cannot wait.
//! * certificate first: it is held back until the bundle vouches for it.
//! * both at once, in any state that fits together: they come into use together.

use std::path::Path;
use std::time::SystemTime;

use avouch_spiffe::{Bundle, BundleSet};

use super::super::error::IdentityError;
use super::super::vouching::{vouched_for, within_dates};
use crate::svid::Svid;
use crate::trust::TrustStore;
use crate::verify::Rejection;

/// The own bundle, ready to verify with.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) bundle: Bundle,
    store: TrustStore,
}

impl Roots {
    pub(super) fn new(bundle: Bundle) -> Self {
        let store = TrustStore::new(BundleSet::from_iter([bundle.clone()]));
        Self { bundle, store }
    }

    pub(super) fn vouch_for(&self, svid: &Svid, now: SystemTime) -> Result<(), Rejection> {
        vouched_for(svid, &self.store, now)
    }
}

/// The paths of the files, for messages.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) certificate: &'a Path,
    pub(super) bundle: &'a Path,
}

/// An SVID and the own bundle in use.
#[derive(Clone, Copy)]
pub(super) struct InUse<'a> {
    pub(super) svid: &'a Svid,
    pub(super) roots: &'a Roots,
}

/// The choice: what comes into use, and why the rest does not.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) svid: bool,
    pub(super) roots: bool,
    pub(super) svid_fault: Option<IdentityError>,
    pub(super) roots_fault: Option<IdentityError>,
}

impl Places<'_> {
    /// Whether an SVID may come into use with these roots.
    pub(super) fn check(self, svid: &Svid, roots: &Roots, now: SystemTime) -> Result<(), IdentityError> {
        let certificate = || self.certificate.to_owned();
        within_dates(svid, now)
            .map_err(|rejection| IdentityError::OutsideDates { certificate: certificate(), rejection })?;
        roots.vouch_for(svid, now).map_err(|rejection| IdentityError::NotVouchedFor {
            certificate: certificate(),
            bundle: self.bundle.to_owned(),
            rejection,
        })
    }

    /// Chooses among what is in use and what was found.
    pub(super) fn choose(
        self,
        in_use: InUse<'_>,
        svid: Option<&Svid>,
        roots: Option<&Roots>,
        now: SystemTime,
    ) -> Choice {
        let ended = now > in_use.svid.not_after();
        let good = |svid, roots| self.check(svid, roots, now).is_ok();
        let (take_svid, take_roots) = match (svid, roots) {
            (Some(svid), Some(roots)) if good(svid, roots) => (true, true),
            (_, Some(roots)) if !ended && roots.vouch_for(in_use.svid, now).is_ok() => (false, true),
            (Some(svid), _) if good(svid, in_use.roots) => (true, false),
            // The SVID in use has expired, so a bundle that does not vouch for it breaks nothing.
            (_, Some(_)) if ended => (false, true),
            _ => (false, false),
        };
        let mut choice = Choice { svid: take_svid, roots: take_roots, ..Choice::default() };
        if let Some(svid) = svid.filter(|_| !take_svid) {
            choice.svid_fault = self.check(svid, roots.unwrap_or(in_use.roots), now).err();
        }
        if let Some(roots) = roots.filter(|_| !take_roots) {
            let svid = svid.filter(|_| take_svid).unwrap_or(in_use.svid);
            choice.roots_fault =
                roots.vouch_for(svid, now).err().map(|rejection| IdentityError::DoesNotVouch {
                    bundle: self.bundle.to_owned(),
                    serial: svid.leaf().serial().to_owned(),
                    rejection,
                });
        }
        choice
    }
}
