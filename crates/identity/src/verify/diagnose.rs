//! Puts a name to a failed path: which certificate, and which word of the vocabulary.
//!
//! Runs only after webpki has refused; nothing here can turn a refusal into an acceptance.

use std::time::SystemTime;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::Facts;
use rustls::pki_types::CertificateDer;

use super::rejection::Rejection;
use crate::trust::Anchor;

/// An error and its sources on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

/// Explains webpki's refusal of a presented chain.
pub(crate) fn path_failure(
    error: &webpki::Error,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[Anchor],
    now: SystemTime,
) -> Rejection {
    let chain = match parse_chain(leaf, intermediates) {
        Ok(chain) => chain,
        Err(rejection) => return rejection,
    };
    if let Some(rejection) = weak_key(&chain) {
        return rejection;
    }
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => dated(&chain, now, Reason::CertExpired),
        E::CertNotValidYet { .. } => dated(&chain, now, Reason::CertNotYetValid),
        E::UnknownIssuer | E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => {
            untrusted(&chain, anchors, now, error)
        }
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Rejection::new(
            Reason::CertPurposeInvalid,
            "X509-SVID §4.4: the leaf's extended key usage lacks serverAuth or clientAuth",
        ),
        E::CaUsedAsEndEntity => {
            Rejection::new(Reason::SvidInvalid, "X509-SVID §4.1: the leaf certificate is a CA")
        }
        E::EndEntityUsedAsCa => {
            Rejection::new(Reason::CertUntrusted, "a certificate of the chain that is no CA signed another")
        }
        E::PathLenConstraintViolated => {
            Rejection::new(Reason::CertUntrusted, "a CA of the chain exceeds its issuer's path length")
        }
        E::UnsupportedCriticalExtension => unknown_extension(&chain),
        E::NameConstraintViolation => {
            Rejection::new(Reason::CertUntrusted, "a name constraint of the chain is violated")
        }
        E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumPathDepthExceeded => {
            Rejection::new(Reason::CertChainTooDeep, format!("path building was given up: {error}"))
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Rejection::new(Reason::CertAlgorithmRefused, format!("{error}"))
        }
        other => Rejection::new(Reason::CertMalformed, format!("{other}")),
    }
}

fn parse_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<Vec<Facts>, Rejection> {
    std::iter::once(leaf)
        .chain(intermediates)
        .enumerate()
        .map(|(at, der)| {
            Facts::parse(der).map_err(|error| {
                Rejection::new(Reason::CertMalformed, format!("{}: {}", position(at), with_sources(&error)))
            })
        })
        .collect()
}

fn weak_key(chain: &[Facts]) -> Option<Rejection> {
    chain.iter().enumerate().find(|(_, facts)| !facts.key_accepted).map(|(at, facts)| {
        Rejection::new(
            Reason::CertAlgorithmRefused,
            format!(
                "{}: a key of {} ({} bit) is not accepted",
                position(at),
                facts.key_algorithm,
                facts.key_bits.map_or_else(|| "?".to_owned(), |bits| bits.to_string())
            ),
        )
    })
}

/// Explains why webpki took a leaf for no certificate at all.
pub(crate) fn unusable_leaf(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Rejection {
    match Facts::parse(leaf) {
        Ok(facts) if !facts.unknown_critical.is_empty() => unknown_extension(&[facts]),
        Ok(_) => Rejection::new(Reason::CertMalformed, format!("leaf certificate: {error}")),
        Err(error) => {
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_sources(&error)))
        }
    }
}

/// Of a leaf that is the leaf's own fault; of an authority it means that nobody can follow the path.
fn unknown_extension(chain: &[Facts]) -> Rejection {
    let named = chain.iter().enumerate().find_map(|(at, facts)| Some((at, facts.unknown_critical.first()?)));
    match named {
        Some((at, oid)) => Rejection::new(
            if at == 0 { Reason::SvidInvalid } else { Reason::CertUntrusted },
            format!("{}: unknown critical extension {oid}", position(at)),
        ),
        None => Rejection::new(
            Reason::CertUntrusted,
            "a certificate of the chain has an unknown critical extension",
        ),
    }
}

fn dated(chain: &[Facts], now: SystemTime, reason: Reason) -> Rejection {
    let outside = |facts: &Facts| match reason {
        Reason::CertExpired => facts.not_after < now,
        _ => facts.not_before > now,
    };
    let Some((at, facts)) = chain.iter().enumerate().find(|(_, facts)| outside(facts)) else {
        return Rejection::new(reason, "a certificate of the chain is outside its dates");
    };
    let detail = match reason {
        Reason::CertExpired => {
            format!("{} ({}) expired {} ago", position(at), named(facts), apart(facts.not_after, now))
        }
        _ => format!("{} ({}) becomes valid in {}", position(at), named(facts), apart(now, facts.not_before)),
    };
    Rejection::new(reason, detail)
}

/// Tells a missing intermediate from an authority we do not know, and either from one whose trust anchor is
/// outside its own dates.
fn untrusted(chain: &[Facts], anchors: &[Anchor], now: SystemTime, error: &webpki::Error) -> Rejection {
    let Some(last) = chain.last() else {
        return Rejection::new(Reason::CertUntrusted, error.to_string());
    };
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.subject == last.issuer) {
        if now > anchor.not_after {
            let detail =
                format!("trust anchor ({}) expired {} ago", anchor.subject, apart(anchor.not_after, now));
            return Rejection::new(Reason::CertExpired, detail);
        }
        if now < anchor.not_before {
            let detail = format!("trust anchor ({}) is not valid yet", anchor.subject);
            return Rejection::new(Reason::CertNotYetValid, detail);
        }
        let detail = format!("{} was not signed by the trusted {}", named(last), anchor.subject);
        return Rejection::new(Reason::CertUntrusted, detail);
    }
    if last.issuer == last.subject {
        let detail = format!("{} signed itself and is not a trust anchor", named(last));
        return Rejection::new(Reason::CertUntrusted, detail);
    }
    if chain.len() == 1 {
        let detail = format!("the issuer of the leaf ({}) was not presented", last.issuer);
        return Rejection::new(Reason::ChainIncomplete, detail);
    }
    Rejection::new(Reason::CertUntrusted, format!("the chain ends at {}, which is not trusted", last.issuer))
}

/// A certificate's name for people: its SPIFFE ID or subject.
fn named(facts: &Facts) -> &str {
    facts.uris.first().map_or(&facts.subject, |uri| uri)
}

fn position(at: usize) -> String {
    match at {
        0 => "leaf certificate".to_owned(),
        n => format!("intermediate certificate {n}"),
    }
}

fn apart(earlier: SystemTime, later: SystemTime) -> String {
    let seconds = later.duration_since(earlier).unwrap_or_default().as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
