//! Puts a name to a failed path: which certificate, and which word of the vocabulary.
//!
//! Runs only after webpki has refused; nothing here can turn a refusal into an acceptance. What was presented and has
//! nothing to do with the leaf is not blamed.

mod walk;

use std::time::{Duration, SystemTime};

use avouch_spiffe::Reason;
use avouch_spiffe::x509::{Facts, NameViolation};
use avouch_text::with_causes;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;

use self::walk::{Below, Certificate, Chain, Climb, Walk};
use super::path::{Role, unix_time};
use super::rejection::Rejection;
use crate::trust::Anchors;

/// Explains why webpki took a leaf for no certificate at all.
pub(crate) fn unusable_leaf(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Rejection {
    match Facts::parse(leaf) {
        Ok(facts) => match facts.unknown_critical.first() {
            Some(oid) => unknown_extension(0, oid),
            None => Rejection::new(Reason::CertMalformed, format!("leaf certificate: {error}")),
        },
        Err(error) => {
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_causes(&error)))
        }
    }
}

/// A chain that webpki refused, and what it was judged by.
pub(crate) struct Failed<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    pub(crate) anchors: &'a Anchors,
    pub(crate) role: Role,
    pub(crate) now: SystemTime,
}

impl Failed<'_> {
    /// The refusal that goes into the record.
    pub(crate) fn explain(
        &self,
        error: &webpki::Error,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Rejection {
        let walk = match Walk::from(self.leaf, self.intermediates) {
            Ok(walk) => walk,
            Err(rejection) => return rejection,
        };
        if let Some(rejection) = weak_key(&walk) {
            return rejection;
        }
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } => dated(&walk, self.now, Reason::CertExpired),
            E::CertNotValidYet { .. } => dated(&walk, self.now, Reason::CertNotYetValid),
            E::UnknownIssuer => self.untrusted(&walk),
            E::InvalidSignatureForPublicKey => self.bad_signature(&walk, algorithms),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => self.purpose(&walk),
            E::CaUsedAsEndEntity => {
                Rejection::new(Reason::SvidInvalid, "X509-SVID §4.1: the leaf certificate is a CA")
            }
            E::EndEntityUsedAsCa => no_authority(&walk),
            E::PathLenConstraintViolated => path_too_long(&walk),
            E::UnsupportedCriticalExtension => unknown_extensions(&walk),
            E::NameConstraintViolation => self.name_constraint(&walk, algorithms),
            E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded
            | E::MaximumPathDepthExceeded => {
                Rejection::new(Reason::CertChainTooDeep, format!("path building was given up: {error}"))
            }
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => algorithms_of(&walk),
            other => self.malformed(other),
        }
    }

    /// Tells a missing intermediate from an authority we do not know.
    fn untrusted(&self, walk: &Walk) -> Rejection {
        let last = walk.last();
        let trusted = self.anchors.roots().iter().find(|root| root.subject_der() == last.facts.issuer_der);
        if let Some(root) = trusted {
            let detail = format!("{} was not signed by the trusted {}", shown(last), root.subject());
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        if last.facts.issuer_der == last.facts.subject_der {
            let detail = format!("{} signed itself and is not a trust anchor", shown(last));
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        if walk.is_leaf_alone() {
            let detail = format!(
                "{} was signed by {}, which was not presented and is not in the bundle",
                shown(last),
                last.facts.issuer
            );
            return Rejection::new(Reason::ChainIncomplete, detail);
        }
        let issuer = &last.facts.issuer;
        let detail = format!("{} was signed by {issuer}, which is not a trust anchor", shown(last));
        Rejection::new(Reason::CertUntrusted, detail)
    }

    /// Tells a signature that fails between two presented certificates, where somebody changed the lower one or made
    /// it up, from one that the trusted root did not make. Where all of them hold, another path's signature was
    /// meant, and this one has some other fault.
    fn bad_signature(&self, walk: &Walk, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> Rejection {
        let chain = self.chain(algorithms);
        let climb = walk.climb(&chain);
        if let Some((below, above)) = climb.broken {
            let (at, by) = (position(below.at), position(above.at));
            let detail = format!("{at} was not signed by the key of {by} ({})", above.facts.subject);
            return Rejection::new(Reason::CertSignatureInvalid, detail);
        }
        if climb.too_long {
            return path_too_long(walk);
        }
        if let Some(detail) = self.violated(&chain, &climb) {
            return Rejection::new(Reason::CertUntrusted, detail);
        }
        let verdict = EndEntityCert::try_from(self.leaf)
            .and_then(|leaf| chain.holds(&leaf, self.anchors.prepared(), &climb.path));
        match verdict {
            Err(error) if error != webpki::Error::InvalidSignatureForPublicKey => {
                Failed { intermediates: &climb.path, ..*self }.explain(&error, algorithms)
            }
            _ => self.untrusted(walk),
        }
    }

    fn chain<'c>(&'c self, algorithms: &'c [&'c dyn SignatureVerificationAlgorithm]) -> Chain<'c> {
        let (leaf, intermediates) = (self.leaf, self.intermediates);
        let usage = self.role.usage();
        Chain { leaf, intermediates, algorithms, usage, now: unix_time(self.now) }
    }

    /// webpki does not say which certificate constrains names, nor which name violates it.
    fn name_constraint(&self, walk: &Walk, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> Rejection {
        let chain = self.chain(algorithms);
        let detail = self.violated(&chain, &walk.climb(&chain)).unwrap_or_else(|| {
            let above: Vec<_> = walk.certificates().skip(1).map(shown).collect();
            format!("a name constraint is violated, which one of these sets: {}", above.join(", "))
        });
        Rejection::new(Reason::CertUntrusted, detail)
    }

    /// The name constraint that a climb ran into, of an authority or of a root.
    fn violated(&self, chain: &Chain<'_>, climb: &Climb<'_, '_>) -> Option<String> {
        if let Some((by, below)) = &climb.constrained {
            return Some(self.violation(&shown(by), self.der(by.at)?, below));
        }
        let leaf = EndEntityCert::try_from(self.leaf).ok()?;
        let anchors = self.anchors.prepared().iter();
        let root = anchors
            .filter(|anchor| chain.below_anchor(&leaf, anchor, &climb.path) == Below::Constrained)
            .find_map(|anchor| self.anchors.root_of(anchor))?;
        let places = climb.path.iter().filter_map(|der| self.intermediates.iter().position(|it| it == der));
        let below: Vec<_> = places.map(|at| at + 1).collect();
        Some(self.violation(&format!("trust anchor ({})", root.subject()), root.der(), &below))
    }

    /// Whose constraint, which, and which name of which certificate violates it: the leaf's name before others.
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

    fn purpose(&self, walk: &Walk) -> Rejection {
        let wanted = match self.role {
            Role::Client => "clientAuth",
            Role::Server => "serverAuth",
        };
        let lacks = |facts: &Facts| {
            !facts.extended_key_usage.is_empty() && !facts.extended_key_usage.iter().any(|it| it == wanted)
        };
        let detail = match walk.find(lacks) {
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
            let error = Facts::parse(der).err()?;
            Some(format!("{}: {}", position(at), with_causes(&error)))
        });
        let detail = unreadable.unwrap_or_else(|| format!("a certificate of the chain: {error}"));
        Rejection::new(Reason::CertMalformed, detail)
    }
}

fn weak_key(walk: &Walk) -> Option<Rejection> {
    let found = walk.find(|facts| !facts.key_accepted)?;
    let bits = found.facts.key_bits.map_or_else(|| "?".to_owned(), |bits| bits.to_string());
    let detail = format!(
        "{}: a key of {} ({bits} bit) is not accepted",
        position(found.at),
        found.facts.key_algorithm
    );
    Some(Rejection::new(Reason::CertAlgorithmRefused, detail))
}

fn algorithms_of(walk: &Walk) -> Rejection {
    let named: Vec<_> = walk
        .certificates()
        .map(|it| format!("{} by {}", position(it.at), it.facts.signature_algorithm))
        .collect();
    let detail = format!("a signature algorithm is not accepted: {}", named.join(", "));
    Rejection::new(Reason::CertAlgorithmRefused, detail)
}

fn no_authority(walk: &Walk) -> Rejection {
    let detail = match walk.find_above_leaf(|facts| !facts.ca) {
        Some(found) => format!("{} that is no CA signed another", shown(found)),
        None => "a certificate of the chain that is no CA signed another".to_owned(),
    };
    Rejection::new(Reason::CertUntrusted, detail)
}

fn path_too_long(walk: &Walk) -> Rejection {
    let detail = match walk.too_long() {
        Some((it, allowed, below)) => {
            format!("{} has the path length {allowed}, and {below} authorities are below it", shown(it))
        }
        None => {
            "a certificate of the chain exceeds its path length: too many authorities are below it".to_owned()
        }
    };
    Rejection::new(Reason::CertUntrusted, detail)
}

fn unknown_extensions(walk: &Walk) -> Rejection {
    match walk.certificates().find_map(|it| Some((it.at, it.facts.unknown_critical.first()?))) {
        Some((at, oid)) => unknown_extension(at, oid),
        None => Rejection::new(
            Reason::CertUntrusted,
            "a certificate of the chain has an unknown critical extension",
        ),
    }
}

/// Of a leaf that is the leaf's own fault; of an authority it means that nobody can follow the path.
fn unknown_extension(at: usize, oid: &str) -> Rejection {
    let reason = if at == 0 { Reason::SvidInvalid } else { Reason::CertUntrusted };
    Rejection::new(reason, format!("{}: unknown critical extension {oid}", position(at)))
}

fn dated(walk: &Walk, now: SystemTime, reason: Reason) -> Rejection {
    let outside = |facts: &Facts| match reason {
        Reason::CertExpired => facts.not_after < now,
        _ => facts.not_before > now,
    };
    let Some(Certificate { at, facts }) = walk.find(outside) else {
        return Rejection::new(reason, "a certificate of the chain is outside its dates");
    };
    let when = match reason {
        Reason::CertExpired => format!("expired {} ago", apart(facts.not_after, now)),
        _ => format!("becomes valid in {}", apart(now, facts.not_before)),
    };
    // Whose clock: as often as the certificate it is the clock that is wrong.
    let detail = format!("{} ({}) {when} by this machine's clock", position(*at), named(facts));
    Rejection::new(reason, detail)
}

/// A certificate's name for people: its SPIFFE ID or subject.
fn named(facts: &Facts) -> &str {
    facts.uris.first().map_or(&facts.subject, |uri| uri)
}

/// A certificate by its place and its name.
fn shown(it: &Certificate) -> String {
    format!("{} ({})", position(it.at), named(&it.facts))
}

/// A certificate by its place in what was presented.
pub(super) fn position(at: usize) -> String {
    match at {
        0 => "leaf certificate".to_owned(),
        n => format!("intermediate certificate {n}"),
    }
}

pub(crate) fn apart(earlier: SystemTime, later: SystemTime) -> String {
    length(later.duration_since(earlier).unwrap_or_default())
}

/// A length of time for people.
pub(crate) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
