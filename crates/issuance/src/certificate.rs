//! What every certificate made here has in common, on top of rcgen, and the checks after signing.

use avouch_spiffe::x509::{Authority, KeyAlgorithm};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use rcgen::{CertificateParams, DistinguishedName, SerialNumber};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::validity::{self, Validity, ValidityError};

/// Parameters with a serial number and a validity period, and without rcgen's defaults: no subject, no serial number
/// derived from the key, no validity from 1975 on.
pub(crate) fn params(serial: &[u8], validity: Validity) -> Result<CertificateParams, ValidityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = validity::date(validity.not_before)?;
    params.not_after = validity::date(validity.not_after)?;
    Ok(params)
}

/// Whether `der` was signed by the key of `authority`. ECDSA on P-256 with SHA-256 and on P-384 with SHA-384 only.
pub(crate) fn signed_by(der: &[u8], authority: &Authority) -> bool {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return false };
    signature_of(
        authority,
        &certificate.signature_algorithm,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
}

/// Whether `signature` is one of the key of `authority` over `message`, by the same algorithms.
pub(crate) fn signature_of(
    authority: &Authority,
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(authority.spki_der()) else { return false };
    let oid = &algorithm.algorithm;
    let algorithm: &'static EcdsaVerificationAlgorithm = match authority.key_algorithm() {
        KeyAlgorithm::EcdsaP256 if *oid == OID_SIG_ECDSA_WITH_SHA256 => &ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP384 if *oid == OID_SIG_ECDSA_WITH_SHA384 => &ECDSA_P384_SHA384_ASN1,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, spki.subject_public_key.as_ref()).verify(message, signature).is_ok()
}
