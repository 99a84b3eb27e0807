//! Whether a bundle vouches for an SVID: checked for every SVID before it comes into use, from any source.

use std::time::SystemTime;

use avouch_spiffe::Reason;

use crate::svid::Svid;
use crate::time_text::apart;
use crate::trust::TrustStore;
use crate::verify::Rejection;

/// Whether peers with these bundles would accept the SVID. Verified at the moment within its validity period that is
/// nearest to `now`: its dates are checked by [`within_dates`].
pub(super) fn vouched_for(svid: &Svid, trust: &TrustStore, now: SystemTime) -> Result<(), Rejection> {
    let moment = now.max(svid.leaf().not_before()).min(svid.not_after());
    trust.verify(svid.chain(), None, moment).map(|_| ())
}

/// Whether the SVID holds now, by this machine's clock.
pub(super) fn within_dates(svid: &Svid, now: SystemTime) -> Result<(), Rejection> {
    let (from, until) = (svid.leaf().not_before(), svid.not_after());
    if now > until {
        let detail = format!("it expired {} ago by this machine's clock", apart(until, now));
        return Err(Rejection::new(Reason::CertExpired, detail));
    }
    if now < from {
        let detail = format!("it becomes valid in {} by this machine's clock", apart(now, from));
        return Err(Rejection::new(Reason::CertNotYetValid, detail));
    }
    Ok(())
}
