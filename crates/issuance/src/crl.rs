//! Certificate revocation lists: what an authority has revoked, signed by it.
//!
//! *Specification*: RFC 5280 §5: version 2, next update, authority key identifier and CRL number in every list; no list of
//! revoked certificates where there are none; serial numbers of at most 20 octets. *Enforced here*: all of it, and after
//! signing that the list says what was asked for. *Never*: delta, indirect or partitioned lists, which verifiers built on
//! rustls-webpki refuse.

use std::time::SystemTime;

use avouch_spiffe::x509::Authority;
use avouch_text::hex;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use x509_parser::asn1_rs::FromDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::authority::{CaError, Root, SigningAuthority};
use crate::certificate;
use crate::key::Signer;
use crate::validity::{self, ValidityError};

/// The longest serial number that RFC 5280 §4.1.2.2 allows, in octets.
const MAX_SERIAL: usize = 20;

/// The content of a certificate revocation list, before an authority signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlContent {
    /// The CRL number; each list of one authority must have a greater one than the list before.
    pub number: u128,
    /// The time of issue, in whole seconds.
    pub this_update: SystemTime,
    /// The time by which the next list is there, in whole seconds.
    pub next_update: SystemTime,
    /// The revoked certificates, in the order of the list.
    pub entries: Vec<CrlEntry>,
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlEntry {
    /// The serial number, big-endian.
    pub serial: Vec<u8>,
    /// The time of the revocation.
    pub revoked_at: SystemTime,
    /// The reason, where one is known that verifiers act upon.
    pub reason: Option<CrlReason>,
}

/// The reason of a revocation (RFC 5280 §5.3.1), as far as lists name one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrlReason {
    /// The key of an authority is, or may be, in the hands of others.
    CaCompromise,
}

impl Root {
    /// Signs a revocation list of signing authorities, as DER.
    ///
    /// # Errors
    ///
    /// An expired authority signs nothing; [`CaError::Signing`], or a failed re-check.
    pub fn sign_crl(&self, content: &CrlContent) -> Result<Vec<u8>, CaError> {
        sign(content, self.certificate(), &self.issuer)
    }
}

impl SigningAuthority {
    /// Signs a revocation list of SVIDs, as DER. With 100,000 entries it takes a good part of a second.
    ///
    /// # Errors
    ///
    /// An expired authority signs nothing; [`CaError::Signing`], or a failed re-check.
    pub fn sign_crl(&self, content: &CrlContent) -> Result<Vec<u8>, CaError> {
        sign(content, self.certificate(), &self.issuer)
    }
}

/// Signs `content`, and checks what came out.
fn sign(
    content: &CrlContent,
    authority: &Authority,
    issuer: &Issuer<'_, Signer>,
) -> Result<Vec<u8>, CaError> {
    if content.this_update > authority.not_after() {
        return Err(ValidityError::AuthorityExpired.into());
    }
    if content.next_update <= content.this_update {
        return Err(ValidityError::TooShort.into());
    }
    let number = content.number.to_be_bytes();
    let params = CertificateRevocationListParams {
        this_update: validity::date(content.this_update)?,
        next_update: validity::date(content.next_update)?,
        crl_number: SerialNumber::from_slice(&number),
        issuing_distribution_point: None,
        revoked_certs: content.entries.iter().map(revoked).collect::<Result<_, _>>()?,
        // As in the certificates that the authority signs, so that verifiers find the list by it.
        key_identifier_method: key_id(authority).map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified),
    };
    let der = params.signed_by(issuer).map_err(CaError::Signing)?.der().to_vec();
    recheck(&der, content, authority)?;
    Ok(der)
}

fn revoked(entry: &CrlEntry) -> Result<RevokedCertParams, CaError> {
    if entry.serial.is_empty() || entry.serial.len() > MAX_SERIAL {
        return Err(CaError::Recheck("serial number"));
    }
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&entry.serial),
        revocation_time: validity::date(entry.revoked_at)?,
        reason_code: entry.reason.map(|CrlReason::CaCompromise| RevocationReason::CaCompromise),
        invalidity_date: None,
    })
}

/// The subject key identifier of an authority, which it shows in hexadecimal.
fn key_id(authority: &Authority) -> Option<Vec<u8>> {
    hex::decode(authority.key_id()?)
}

/// Compares what was signed with what was asked for.
fn recheck(der: &[u8], content: &CrlContent, authority: &Authority) -> Result<(), CaError> {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        return Err(CaError::Recheck("encoding"));
    };
    let signed = &list.tbs_cert_list;
    if !certificate::signature_of(
        authority,
        &list.signature_algorithm,
        signed.as_ref(),
        &list.signature_value.data,
    ) {
        return Err(CaError::Recheck("signature"));
    }
    if signed.revoked_certificates.len() != content.entries.len() {
        return Err(CaError::Recheck("entries"));
    }
    let next_update = validity::date(content.next_update)?.unix_timestamp();
    if signed.next_update.map(|time| time.timestamp()) != Some(next_update) {
        return Err(CaError::Recheck("next update"));
    }
    let names_key = signed.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => {
            found.key_identifier.as_ref().map(|id| id.0) == key_id(authority).as_deref()
        }
        _ => false,
    });
    if names_key { Ok(()) } else { Err(CaError::Recheck("authority key identifier")) }
}
