//! The diagnosis of a failed path: which certificate failed, and for which reason.
//!
//! Runs only after webpki has rejected a chain; nothing here can turn a rejection into an acceptance. Certificates that
//! were presented and have nothing to do with the leaf are not blamed.

mod presented_chain;

use std::time::SystemTime;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::{CertificateInfo, NameViolation};
use avouch_text::with_causes;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use self::presented_chain::{Below, Certificate, PresentedChain, SignatureChecker, SignedPrefix};
use super::rejection::{Rejection, position};
use super::webpki_input::{Role, unix_time};
use crate::time_text::apart;
use crate::trust::Anchors;

/// The rejection of a leaf that webpki cannot parse.
pub(crate) fn unusable_leaf(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Rejection {
    match CertificateInfo::parse(leaf) {
        Ok(info) => match info.unknown_critical.first() {
            Some(oid) => unknown_extension(0, oid),
            None => Rejection::new(Reason::CertMalformed, format!("leaf certificate: {error}")),
        },
        Err(error) => {
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_causes(&error)))
        }
    }
}

/// A chain that webpki rejected, and what it was verified against.
pub(crate) struct Failed<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    pub(crate) anchors: &'a Anchors,
    pub(crate) role: Role,
    pub(crate) now: SystemTime,
}

impl Failed<'_> {
    /// The rejection that goes into the record.
    pub(crate) fn explain(&self, error: &webpki::Error) -> Rejection {
        let chain = match PresentedChain::from(self.leaf, self.intermediates) {
            Ok(chain) => chain,
            Err(rejection) => return rejection,
        };
        if let Some(rejection) = weak_key(&chain) {
            return rejection;
        }
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } => dated(&chain, self.now, Reason::CertExpired),
            E::CertNotValidYet { .. } => dated(&chain, self.now, Reason::CertNotYetValid),
            E::UnknownIssuer => self.untrusted(&chain),
            E::InvalidSignatureForPublicKey => self.bad_signature(&chain),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => self.purpose(&chain),
            E::CaUsedAsEndEntity => {
                Rejection::new(Reason::SvidInvalid, "X509-SVID §4.1: the leaf certificate is a CA")
            }
            E::EndEntityUsedAsCa => no_authority(&chain),
            E::PathLenConstraintViolated => path_too_long(&chain),
            E::UnsupportedCriticalExtension => unknown_extensions(&chain),
            E::NameConstraintViolation => self.name_constraint(&chain),
            E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded
            | E::MaximumPathDepthExceeded => {
                Rejection::new(Reason::CertChainTooDeep, format!("path building was given up: {error}"))
            }
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => algorithms_of(&chain),
            other => self.malformed(other),
        }
    }

    /// Tells a missing intermediate from an authority we do not know.
    fn untrusted(&self, chain: &PresentedChain) -> Rejection {
        let last = chain.last();
        let trusted = self.anchors.roots().iter().find(|root| root.subject_der() == last.info.issuer_der);
        if let Some(root) = trusted {
            let detail = format!("{} was not signed by the trusted {}", shown(last), root.subject());
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        if last.info.issuer_der == last.info.subject_der {
            let detail = format!("{} signed itself and is not a trust anchor", shown(last));
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        if chain.is_leaf_alone() {
            let detail = format!(
                "{} was signed by {}, which was not presented and is not in the bundle",
                shown(last),
                last.info.issuer
            );
            return Rejection::new(Reason::ChainIncomplete, detail);
        }
        let issuer = &last.info.issuer;
        let detail = format!("{} was signed by {issuer}, which is not a trust anchor", shown(last));
        Rejection::new(Reason::CertUntrusted, detail)
    }

    /// Tells a signature that fails between two presented certificates, where somebody changed the lower one or made
    /// it up, from one that the trusted root did not make. Where all of them hold, webpki's
    /// error came from another path, and this one is then verified alone to find its own fault.
    fn bad_signature(&self, chain: &PresentedChain) -> Rejection {
        let checker = self.checker();
        let prefix = chain.signed_prefix(&checker);
        if let Some((below, above)) = prefix.broken {
            let (at, by) = (position(below.at), position(above.at));
            let detail = format!("{at} was not signed by the key of {by} ({})", above.info.subject);
            return Rejection::new(Reason::CertSignatureInvalid, detail);
        }
        if prefix.too_long {
            return path_too_long(chain);
        }
        if let Some(detail) = self.violated(&checker, &prefix) {
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        let verdict = EndEntityCert::try_from(self.leaf)
            .and_then(|leaf| checker.holds(&leaf, self.anchors.prepared(), &prefix.path));
        match verdict {
            Err(error) if error != webpki::Error::InvalidSignatureForPublicKey => {
                Failed { intermediates: &prefix.path, ..*self }.explain(&error)
            }
            _ => self.untrusted(chain),
        }
    }

    fn checker(&self) -> SignatureChecker<'_> {
        let (leaf, intermediates) = (self.leaf, self.intermediates);
        let usage = self.role.usage();
        SignatureChecker { leaf, intermediates, usage, now: unix_time(self.now) }
    }

    /// webpki does not say which certificate constrains names, nor which name violates it.
    fn name_constraint(&self, chain: &PresentedChain) -> Rejection {
        let checker = self.checker();
        let detail = self.violated(&checker, &chain.signed_prefix(&checker)).unwrap_or_else(|| {
            let above: Vec<_> = chain.certificates().skip(1).map(shown).collect();
            format!("a name constraint is violated, which one of these sets: {}", above.join(", "))
        });
        Rejection::new(Reason::CertUntrusted, detail)
    }

    /// The name constraint that the signed prefix of a chain violates, of an authority or of a root.
    fn violated(&self, checker: &SignatureChecker<'_>, prefix: &SignedPrefix<'_, '_>) -> Option<String> {
        if let Some((by, below)) = &prefix.constrained {
            return Some(self.violation(&shown(by), self.der(by.at)?, below));
        }
        let leaf = EndEntityCert::try_from(self.leaf).ok()?;
        let anchors = self.anchors.prepared().iter();
        let root = anchors
            .filter(|anchor| checker.below_anchor(&leaf, anchor, &prefix.path) == Below::Constrained)
            .find_map(|anchor| self.anchors.root_of(anchor))?;
        let places = prefix.path.iter().filter_map(|der| self.intermediates.iter().position(|it| it == der));
        let below: Vec<_> = places.map(|at| at + 1).collect();
        Some(self.violation(&format!("trust anchor ({})", root.subject()), root.der(), &below))
    }

    /// The violation in a sentence: the authority, its constraint, the certificate and its name. The leaf's name goes
    /// before others.
    fn violation(&self, by: &str, constraining: &[u8], below: &[usize]) -> String {
        let places = std::iter::once(0).chain(below.iter().copied());
        let found = places.filter_map(|at| {
            let violation = NameViolation::find(constraining, self.der(at)?)?;
            Some(format!("{}: name constraint violated: {by} {violation}", position(at)))
        });
        found.into_iter().next().unwrap_or_else(|| format!("a name constraint of {by} is violated"))
    }

    /// A presented certificate by its place: 0 for the leaf.
    fn der(&self, at: usize) -> Option<&[u8]> {
        match at.checked_sub(1) {
            None => Some(self.leaf),
            Some(at) => self.intermediates.get(at).map(|der| der.as_ref()),
        }
    }

    fn purpose(&self, chain: &PresentedChain) -> Rejection {
        let wanted = match self.role {
            Role::Client => "clientAuth",
            Role::Server => "serverAuth",
        };
        let lacks = |info: &CertificateInfo| {
            !info.extended_key_usage.is_empty() && !info.extended_key_usage.iter().any(|it| it == wanted)
        };
        let detail = match chain.find(lacks) {
            Some(found) if found.at > 0 => {
                format!("{}: its extended key usage lacks {wanted}", position(found.at))
            }
            _ => "X509-SVID §4.4: the leaf's extended key usage lacks serverAuth or clientAuth".to_owned(),
        };
        Rejection::new(Reason::CertPurposeInvalid, detail)
    }

    /// webpki could not read something: say which, where we cannot either.
    fn malformed(&self, error: &webpki::Error) -> Rejection {
        let unreadable = self.intermediates.iter().zip(1..).find_map(|(der, at)| {
            let error = CertificateInfo::parse(der).err()?;
            Some(format!("{}: {}", position(at), with_causes(&error)))
        });
        let detail = unreadable.unwrap_or_else(|| format!("a certificate of the chain: {error}"));
        Rejection::new(Reason::CertMalformed, detail)
    }
}

fn weak_key(chain: &PresentedChain) -> Option<Rejection> {
    let found = chain.find(|info| !info.key_accepted)?;
    let bits = found.info.key_bits.map_or_else(|| "?".to_owned(), |bits| bits.to_string());
    let detail =
        format!("{}: a key of {} ({bits} bit) is not accepted", position(found.at), found.info.key_algorithm);
    Some(Rejection::new(Reason::CertAlgorithmRefused, detail))
}

fn algorithms_of(chain: &PresentedChain) -> Rejection {
    let named: Vec<_> = chain
        .certificates()
        .map(|it| format!("{} by {}", position(it.at), it.info.signature_algorithm))
        .collect();
    let detail = format!("a signature algorithm is not accepted: {}", named.join(", "));
    Rejection::new(Reason::CertAlgorithmRefused, detail)
}

fn no_authority(chain: &PresentedChain) -> Rejection {
    let detail = match chain.find_above_leaf(|info| !info.ca) {
        Some(found) => format!("{} that is no CA signed another", shown(found)),
        None => "a certificate of the chain that is no CA signed another".to_owned(),
    };
    Rejection::new(Reason::CertUntrusted, detail)
}

fn path_too_long(chain: &PresentedChain) -> Rejection {
    let detail = match chain.too_long() {
        Some((it, allowed, below)) => {
            format!("{} has the path length {allowed}, and {below} authorities are below it", shown(it))
        }
        None => {
            "a certificate of the chain exceeds its path length: too many authorities are below it".to_owned()
        }
    };
    Rejection::new(Reason::CertUntrusted, detail)
}

fn unknown_extensions(chain: &PresentedChain) -> Rejection {
    match chain.certificates().find_map(|it| Some((it.at, it.info.unknown_critical.first()?))) {
        Some((at, oid)) => unknown_extension(at, oid),
        None => Rejection::new(
            Reason::CertUntrusted,
            "a certificate of the chain has an unknown critical extension",
        ),
    }
}

/// The rejection for an unknown critical extension. In a leaf it makes the SVID invalid; in an authority the path cannot
/// be validated.
fn unknown_extension(at: usize, oid: &str) -> Rejection {
    let reason = if at == 0 { Reason::SvidInvalid } else { Reason::CertUntrusted };
    Rejection::new(reason, format!("{}: unknown critical extension {oid}", position(at)))
}

fn dated(chain: &PresentedChain, now: SystemTime, reason: Reason) -> Rejection {
    let expired = reason == Reason::CertExpired;
    let outside = |info: &CertificateInfo| if expired { info.not_after < now } else { info.not_before > now };
    let Some(Certificate { at, info }) = chain.find(outside) else {
        return Rejection::new(reason, "a certificate of the chain is outside its dates");
    };
    let when = if expired {
        format!("expired {} ago", apart(info.not_after, now))
    } else {
        format!("becomes valid in {}", apart(now, info.not_before))
    };
    // Names the clock: a wrong clock is as common as a wrong certificate.
    let detail = format!("{} ({}) {when} by this machine's clock", position(*at), named(info));
    Rejection::new(reason, detail)
}

/// A certificate's name for people: its SPIFFE ID or subject.
fn named(info: &CertificateInfo) -> &str {
    info.uris.first().map_or(&info.subject, |uri| uri)
}

/// A certificate by its place and its name.
fn shown(it: &Certificate) -> String {
    format!("{} ({})", position(it.at), named(&it.info))
}
