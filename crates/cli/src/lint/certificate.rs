//! What is wrong with a certificate by itself.

use super::finding::{CertificateRef, Finding, Lint};
use super::verifier::weak_digest;
use crate::inspect;
use avouch_spiffe::x509::CertificateInfo;
use avouch_time::duration::rounded;
use avouch_time::relative;
use std::time::{Duration, SystemTime};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);
/// The lifetime of a workload's certificate from which on a stolen key is worth having.
const LONG_LEAF: Duration = Duration::from_secs(30 * 86_400);
/// The lifetime of a CA from which on its algorithms may be broken before it ends.
const LONG_CA: Duration = Duration::from_secs(3_660 * 86_400);
/// The bytes that a random serial has at least (CA/Browser Forum BR 7.1).
const SERIAL_BYTES: usize = 8;

/// The findings about one certificate.
pub(super) fn lint(der: &[u8], certificate: &CertificateRef, now: SystemTime) -> Vec<Finding> {
    let mut lint = Lint::new(certificate);
    let inspection = inspect::inspect(der);
    for check in inspection.failures() {
        let found = check.failure.as_deref().unwrap_or_default();
        lint.error(check.id, check.clause, format!("not so: {}: {found}", check.demand));
    }
    let info = match inspection.info() {
        Ok(info) => info,
        Err(error) => {
            lint.error("AV-000", "RFC 5280 4.1", format!("not a readable certificate: {error}"));
            return lint.into_findings();
        }
    };
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        // What an older version lacks follows from its being older, which is said already.
        if info.version == 3 {
            lint.names(&certificate, info);
            lint.key_identifiers(&certificate, info);
            lint.usages(info);
        }
        lint.serial(&certificate);
        lint.encoding(&certificate);
    }
    lint.life(info, now);
    lint.verifier(der, info);
    lint.into_findings()
}

impl Lint<'_> {
    fn names(&mut self, certificate: &X509Certificate<'_>, info: &CertificateInfo) {
        let tbs = &certificate.tbs_certificate;
        let subject_is_empty = tbs.subject().iter_rdn().next().is_none();
        if tbs.issuer().iter_rdn().next().is_none() {
            self.error("AV-051", "RFC 5280 4.1.2.4", "the issuer's name is empty");
        }
        if info.ca && subject_is_empty {
            self.error("AV-052", "RFC 5280 4.1.2.6", "the subject of a CA is empty");
        }
        let names = tbs.subject_alternative_name().ok().flatten();
        match &names {
            Some(names) if names.critical && !subject_is_empty => self.warning(
                "AV-053",
                "RFC 5280 4.2.1.6",
                "the names are critical although there is a subject",
            ),
            Some(names) if info.ca && !names.critical && subject_is_empty => {
                self.error(
                    "AV-053",
                    "RFC 5280 4.2.1.6",
                    "the names are not critical although there is no subject",
                );
            }
            _ => {}
        }
        if info.ca && !info.uris.iter().any(|uri| uri.starts_with("spiffe://")) {
            self.notice("AV-054", "SPIFFE-ID 3.1", "the CA bears no SPIFFE ID of its trust domain");
        }
        if !info.ca && info.subject_der == info.issuer_der && !subject_is_empty {
            self.warning("AV-055", "X509-SVID 3", "it is issued by itself, so no bundle can vouch for it");
        }
    }

    fn key_identifiers(&mut self, certificate: &X509Certificate<'_>, info: &CertificateInfo) {
        if info.authority_key_id.is_none() && info.subject_der != info.issuer_der {
            self.error("AV-056", "RFC 5280 4.2.1.1", "there is no authority key identifier");
        }
        match info.subject_key_id {
            None if info.ca => self.error("AV-057", "RFC 5280 4.2.1.2", "a CA has no subject key identifier"),
            None => self.warning("AV-057", "RFC 5280 4.2.1.2", "there is no subject key identifier"),
            Some(_) => {}
        }
        let critical = certificate.extensions().iter().filter(|extension| extension.critical);
        for extension in critical {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(_) => {
                    self.error("AV-058", "RFC 5280 4.2.1.1", "the authority key identifier is critical");
                }
                ParsedExtension::SubjectKeyIdentifier(_) => {
                    self.error("AV-058", "RFC 5280 4.2.1.2", "the subject key identifier is critical");
                }
                _ => {}
            }
        }
    }

    fn usages(&mut self, info: &CertificateInfo) {
        let uses = |usage: &str| info.key_usage.contains(&usage);
        let elliptic = !info.key_algorithm.contains("RSA");
        if elliptic && (uses("keyEncipherment") || uses("dataEncipherment")) {
            self.error("AV-059", "RFC 8813 3", "an elliptic key is said to encipher, which it cannot");
        }
        if !info.ca && info.path_len.is_some() {
            self.error("AV-060", "RFC 5280 4.2.1.9", "there is a path length, and it is no CA");
        }
        if info.ca && uses("digitalSignature") {
            self.warning(
                "AV-061",
                "X509-SVID 4.3",
                "a CA may also sign handshakes; it should only sign certificates",
            );
        }
        if info.ca && !info.extended_key_usage.is_empty() {
            self.notice(
                "AV-062",
                "RFC 5280 4.2.1.12",
                "a CA has extended key usages; they bind all below it",
            );
        }
    }

    fn serial(&mut self, certificate: &X509Certificate<'_>) {
        let serial = certificate.tbs_certificate.raw_serial();
        let length = serial.iter().skip_while(|byte| **byte == 0).count();
        let self_issued = certificate.subject() == certificate.issuer();
        // A serial that is not positive is an error already.
        let positive = length > 0 && serial.first().is_some_and(|byte| byte & 0x80 == 0);
        if positive && length < SERIAL_BYTES && !self_issued {
            let message = format!("the serial has {length} bytes; 8 random ones make it unguessable");
            self.warning("AV-063", "CA/B BR 7.1", message);
        }
    }

    fn encoding(&mut self, certificate: &X509Certificate<'_>) {
        const YEAR_2050: i64 = 2_524_608_000;
        let validity = certificate.validity();
        for (name, time) in [("begin", &validity.not_before), ("end", &validity.not_after)] {
            if time.is_utctime() != (time.timestamp() < YEAR_2050) {
                let message = format!("the {name} must be UTCTime until 2049 and GeneralizedTime from 2050");
                self.error("AV-064", "RFC 5280 4.1.2.5", message);
            }
        }
        for extension in certificate.extensions() {
            // `cA = FALSE` in so many bytes; what is the default must be left out (X.690 11.5).
            let spelt_out = matches!(extension.parsed_extension(), ParsedExtension::BasicConstraints(_))
                && matches!(extension.value, [0x30, _, 0x01, 0x01, 0x00, ..]);
            if spelt_out {
                self.error("AV-068", "X.690 11.5", "it spells out that it is no CA, which DER leaves out");
            }
        }
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        if let Some(weak) = weak_digest(&algorithm) {
            self.error("AV-065", "RFC 9155", format!("it is signed with {weak}, which can be forged"));
        }
    }

    fn life(&mut self, info: &CertificateInfo, now: SystemTime) {
        let life = info.not_after.duration_since(info.not_before).unwrap_or_default();
        let shown = rounded(life);
        if !info.ca && life > LONG_LEAF {
            self.warning("AV-066", "X509-SVID", format!("it lives {shown}; an SVID is meant to live hours"));
        } else if !info.ca && life > DAY {
            self.notice("AV-066", "X509-SVID", format!("it lives {shown}; an SVID is meant to live hours"));
        } else if info.ca && life > LONG_CA {
            self.notice("AV-066", "avouch", format!("the CA lives {shown}, more than ten years"));
        }
        if now > info.not_after {
            let message = format!("it expired {}", relative(info.not_after, now));
            self.warning("AV-067", "RFC 5280 4.1.2.5", message);
        } else if now < info.not_before {
            let message = format!("it starts {}", relative(info.not_before, now));
            self.warning("AV-067", "RFC 5280 4.1.2.5", message);
        }
    }
}
