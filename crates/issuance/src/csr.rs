//! Certificate signing requests (PKCS#10): the public key and the proof that its owner asked, nothing else.
//!
//! Whatever else a request asks for (a CA flag, a validity, extensions, other names) is not read, with one exception:
//! a URI in the requested subject alternative name is compared with the identity that will be issued, so that a
//! mistaken or malicious request fails instead of silently getting another identity.
//!
//! The signature is verified with the algorithm pair that the key and the signature really have. A P-384 key that
//! signs with SHA-256, as OpenSSL does by default, is therefore fine.

use avouch_spiffe::x509::KeyAlgorithm;
use avouch_spiffe::{Reason, SpiffeId, SpiffeIdError};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::x509::X509Version;

/// The largest request read.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

/// A request whose proof of possession holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    spki_der: Vec<u8>,
    key_algorithm: KeyAlgorithm,
    spiffe_id: Option<SpiffeId>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// More bytes than any honest request has.
    #[error("the certificate signing request has {size} bytes, more than {MAX_CSR_BYTES}")]
    TooLarge {
        /// How many bytes it has.
        size: usize,
    },
    /// Not a PKCS#10 request.
    #[error("the bytes are not the DER encoding of a PKCS#10 certificate signing request")]
    NotDer,
    /// Bytes after the request, or inside of it after its last part.
    #[error("there is trailing data after or in the certificate signing request")]
    TrailingData,
    /// A version other than 1.
    #[error("the certificate signing request is not of version 1")]
    Version,
    /// A key of an algorithm that is not issued for.
    #[error("a key of {algorithm} gets no certificate; use ECDSA P-256 or P-384")]
    KeyAlgorithm {
        /// The algorithm and size, or object identifier.
        algorithm: String,
    },
    /// A signature of an algorithm that is not accepted.
    #[error(
        "the signature algorithm {algorithm} is not accepted; use ECDSA with SHA-256, SHA-384 or SHA-512"
    )]
    SignatureAlgorithm {
        /// The object identifier.
        algorithm: String,
    },
    /// The signature does not verify.
    #[error(
        "the proof of possession does not hold: the signature does not verify with the request's own key"
    )]
    Signature,
    /// More than one URI in the requested subject alternative name.
    #[error("the request names {count} URIs in its subject alternative name, more than one")]
    ManyUris {
        /// How many there are.
        count: usize,
    },
    /// The requested subject alternative name cannot be read.
    #[error("the requested subject alternative name cannot be read")]
    SanUnreadable,
    /// The requested URI is not a SPIFFE ID.
    #[error("the requested URI is not a SPIFFE ID: {0}")]
    SpiffeId(#[from] SpiffeIdError),
    /// The request names an identity other than the one that would be issued.
    #[error("the request names {requested}, but would get {entitled}")]
    IdentityMismatch {
        /// The identity in the request.
        requested: SpiffeId,
        /// The identity the requester is entitled to.
        entitled: SpiffeId,
    },
}

impl CsrError {
    /// The reason that a refusal for this error carries.
    pub fn reason(&self) -> Reason {
        match self {
            Self::IdentityMismatch { .. } => Reason::CsrIdentityMismatch,
            _ => Reason::CsrInvalid,
        }
    }
}

impl Csr {
    /// Parses DER and verifies the proof of possession.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLarge { size: der.len() });
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::NotDer)?;
        if !rest.is_empty() {
            return Err(CsrError::TrailingData);
        }
        let info = &request.certification_request_info;
        // Behind the attributes, behind the signature: the parser would overlook it.
        if !matches!(elements(info.raw), Some(3 | 4)) || elements(der) != Some(3) {
            return Err(CsrError::TrailingData);
        }
        if info.version != X509Version::V1 {
            return Err(CsrError::Version);
        }
        let key_algorithm = KeyAlgorithm::of_spki(info.subject_pki.raw)
            .map_err(|refused| CsrError::KeyAlgorithm { algorithm: refused.algorithm })?;
        let verification = pair(key_algorithm, &request)?;
        UnparsedPublicKey::new(verification, info.subject_pki.subject_public_key.as_ref())
            .verify(info.raw, request.signature_value.as_ref())
            .map_err(|_| CsrError::Signature)?;
        let spiffe_id = requested_identity(&request)?;
        Ok(Self { spki_der: info.subject_pki.raw.to_vec(), key_algorithm, spiffe_id })
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The public key's algorithm: P-256 or P-384.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }

    /// The identity that the request names, if it names one.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    /// Refuses a request that names somebody else than who it would be issued to.
    ///
    /// # Errors
    ///
    /// [`CsrError::IdentityMismatch`].
    pub fn check_identity(&self, entitled: &SpiffeId) -> Result<(), CsrError> {
        match &self.spiffe_id {
            Some(requested) if requested != entitled => {
                Err(CsrError::IdentityMismatch { requested: requested.clone(), entitled: entitled.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// The verification algorithm of the key and signature algorithm that the request really has.
fn pair(
    key: KeyAlgorithm,
    request: &X509CertificationRequest<'_>,
) -> Result<&'static EcdsaVerificationAlgorithm, CsrError> {
    let signature = &request.signature_algorithm;
    let oid = &signature.algorithm;
    let hash = if *oid == OID_SIG_ECDSA_WITH_SHA256 {
        256
    } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
        384
    } else if *oid == OID_SIG_ECDSA_WITH_SHA512 {
        512
    } else {
        0
    };
    match (key, hash) {
        (KeyAlgorithm::EcdsaP256, 256) => Ok(&ECDSA_P256_SHA256_ASN1),
        (KeyAlgorithm::EcdsaP256, 384) => Ok(&ECDSA_P256_SHA384_ASN1),
        (KeyAlgorithm::EcdsaP256, 512) => Ok(&ECDSA_P256_SHA512_ASN1),
        (KeyAlgorithm::EcdsaP384, 256) => Ok(&ECDSA_P384_SHA256_ASN1),
        (KeyAlgorithm::EcdsaP384, 384) => Ok(&ECDSA_P384_SHA384_ASN1),
        (KeyAlgorithm::EcdsaP384, 512) => Ok(&ECDSA_P384_SHA512_ASN1),
        (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384, _) => {
            Err(CsrError::SignatureAlgorithm { algorithm: oid.to_id_string() })
        }
        (other, _) => Err(CsrError::KeyAlgorithm { algorithm: other.to_string() }),
    }
}

/// The one URI of all requested subject alternative names, if any.
fn requested_identity(request: &X509CertificationRequest<'_>) -> Result<Option<SpiffeId>, CsrError> {
    let mut uris = Vec::new();
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else { continue };
        if !is_one_value(attribute.value) {
            return Err(CsrError::SanUnreadable);
        }
        for extension in &requested.extensions {
            if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
                continue;
            }
            let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() else {
                return Err(CsrError::SanUnreadable);
            };
            if !is_one_value(extension.value) {
                return Err(CsrError::SanUnreadable);
            }
            for name in &san.general_names {
                match name {
                    GeneralName::URI(uri) => uris.push(*uri),
                    GeneralName::Invalid(..) => return Err(CsrError::SanUnreadable),
                    _ => {}
                }
            }
        }
    }
    match uris.as_slice() {
        [] => Ok(None),
        [uri] => Ok(Some(uri.parse()?)),
        many => Err(CsrError::ManyUris { count: many.len() }),
    }
}

/// Whether this is one value and nothing after it: the parser would overlook a second, and a name with it.
fn is_one_value(der: &[u8]) -> bool {
    matches!(Any::from_der(der), Ok(([], _)))
}

/// How many elements a sequence has.
fn elements(der: &[u8]) -> Option<usize> {
    let (mut count, mut rest) = (0, Any::from_der(der).ok()?.1.data);
    while !rest.is_empty() {
        (rest, _) = Any::from_der(rest).ok()?;
        count += 1;
    }
    Some(count)
}
