//! The order of a chain: in TLS the leaf comes first, and each certificate is followed by the one that signed it (RFC
//! 8446 §4.4.2). Verifies nothing; names and key identifiers only say which order was meant.

use super::certificate_info::CertificateInfo;

/// The most certificates that are ordered: no verifier takes a chain of more.
const MOST: usize = 64;

/// The order in which the certificates of a file are a chain: their places in `ders`, from 0, leaf first. Certificates
/// that do not belong to the chain are left out.
///
/// `None`: they are in order, or no better order is known, since there is not exactly one leaf, one cannot be read, or there
/// are more than 64.
pub fn leaf_first(ders: &[impl AsRef<[u8]>]) -> Option<Vec<usize>> {
    if ders.len() > MOST {
        return None;
    }
    let parsed: Result<Vec<_>, _> =
        ders.iter().map(|der| CertificateInfo::parse_any_version(der.as_ref())).collect();
    let info = parsed.ok()?;
    let mut leaves = info.iter().enumerate().filter(|(_, info)| !info.ca);
    let (Some((leaf, mut below)), None) = (leaves.next(), leaves.next()) else { return None };
    let mut order = vec![leaf];
    let is_above = |below: &CertificateInfo, above: &CertificateInfo| {
        let keys = (&below.authority_key_id, &above.subject_key_id);
        below.issuer_der == above.subject_der && !matches!(keys, (Some(a), Some(b)) if a != b)
    };
    while let Some((place, above)) =
        info.iter().enumerate().find(|(place, above)| !order.contains(place) && is_above(below, above))
    {
        order.push(place);
        below = above;
    }
    let is_in_order = order.iter().copied().eq(0..order.len());
    (!is_in_order).then_some(order)
}
