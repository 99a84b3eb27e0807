//! The contents of any certificate, for messages and inspection. Nothing is verified: a certificate that can be read is
//! not thereby acceptable.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage};
use x509_parser::public_key::PublicKey;

use super::key::KeyAlgorithm;
use super::read::{self, MalformedCertificate};
use super::{name, sha256};
use avouch_text::hex;

/// The contents of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// The version as people count: 1, 2 or 3. Only version 3 has extensions, and with them names and usages.
    pub version: u32,
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// The subject's DER: two names are the same when their octets are, whatever they look like.
    pub subject_der: Vec<u8>,
    /// The issuer's DER.
    pub issuer_der: Vec<u8>,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// The first second of validity.
    pub not_before: SystemTime,
    /// The last second of validity.
    pub not_after: SystemTime,
    /// URIs of the subject alternative name; control characters escaped.
    pub uris: Vec<String>,
    /// DNS names of the subject alternative name; control characters escaped.
    pub dns: Vec<String>,
    /// IP addresses of the subject alternative name.
    pub ips: Vec<String>,
    /// Whether basic constraints say `cA`.
    pub ca: bool,
    /// The path length constraint.
    pub path_len: Option<u32>,
    /// Names of the key usage bits, as RFC 5280 spells them.
    pub key_usage: Vec<&'static str>,
    /// Names of the extended key usages, or object identifiers.
    pub extended_key_usage: Vec<String>,
    /// The public key's algorithm, or its object identifier when it has no name here.
    pub key_algorithm: String,
    /// The public key's size in bits, where it is known.
    pub key_bits: Option<u32>,
    /// Whether avouch accepts the public key's algorithm and size.
    pub key_accepted: bool,
    /// The object identifier of the algorithm it was signed with.
    pub signature_algorithm: String,
    /// The subject key identifier, hexadecimal.
    pub subject_key_id: Option<String>,
    /// The authority key identifier, hexadecimal.
    pub authority_key_id: Option<String>,
    /// Critical extensions that avouch does not understand.
    pub unknown_critical: Vec<String>,
    /// SHA-256 of the DER, lower-case hexadecimal.
    pub sha256: String,
}

impl CertificateInfo {
    /// Reads a DER certificate.
    ///
    /// # Errors
    ///
    /// Only for bytes that are no well-formed version 3 certificate.
    pub fn parse(der: &[u8]) -> Result<Self, MalformedCertificate> {
        Self::of(&read::certificate(der)?, der)
    }

    /// Reads a DER certificate of any version: one of version 1 can carry no SPIFFE ID and is accepted nowhere, but it
    /// has an owner, an issuer and an end, which its owner wants to know.
    ///
    /// # Errors
    ///
    /// Only for bytes that are no well-formed certificate.
    pub fn parse_any_version(der: &[u8]) -> Result<Self, MalformedCertificate> {
        Self::of(&read::certificate_of_any_version(der)?, der)
    }

    fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<Self, MalformedCertificate> {
        let extensions = read::extensions(certificate)?;
        let (not_before, not_after) = read::validity(certificate)?;
        let tbs = &certificate.tbs_certificate;
        let key = KeyAlgorithm::of(&tbs.subject_pki);
        let mut info = Self {
            version: tbs.version.0.saturating_add(1),
            subject: name::text(tbs.subject()),
            issuer: name::text(tbs.issuer()),
            subject_der: tbs.subject().as_raw().to_vec(),
            issuer_der: tbs.issuer().as_raw().to_vec(),
            serial: read::serial_hex(tbs.raw_serial()),
            not_before,
            not_after,
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            ca: extensions.basic_constraints.is_some_and(|constraints| constraints.value.ca),
            path_len: extensions
                .basic_constraints
                .and_then(|constraints| constraints.value.path_len_constraint),
            key_usage: extensions.key_usage.map(|usage| usages(usage.value)).unwrap_or_default(),
            extended_key_usage: extensions
                .extended_key_usage
                .map(|usage| purposes(usage.value))
                .unwrap_or_default(),
            key_accepted: key.is_ok(),
            key_bits: key.as_ref().ok().map(|key| key.bits()).or_else(|| match tbs.subject_pki.parsed() {
                Ok(PublicKey::RSA(key)) => u32::try_from(key.key_size()).ok(),
                _ => None,
            }),
            key_algorithm: match key {
                Ok(key) => key.to_string(),
                Err(refused) => refused.algorithm,
            },
            signature_algorithm: certificate.signature_algorithm.algorithm.to_id_string(),
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            unknown_critical: extensions.unknown_criticals,
            sha256: hex::encode(&sha256(der)),
        };
        if let Some(san) = extensions.subject_alt_name {
            info.add_names(&san.value.general_names);
        }
        Ok(info)
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::URI(uri) => self.uris.push(name::printable(uri)),
                GeneralName::DNSName(name) => self.dns.push(name::printable(name)),
                GeneralName::IPAddress(octets) => self.ips.push(address(octets)),
                _ => {}
            }
        }
    }
}

fn address(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ipv4Addr::from(v4).to_string();
    }
    if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        return Ipv6Addr::from(v6).to_string();
    }
    hex::encode(octets)
}

fn usages(usage: &KeyUsage) -> Vec<&'static str> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .chain(usage.other.iter().map(|oid| oid.to_id_string()))
    .collect()
}
