//! Certificate signing requests (PKCS#10): the public key and the proof that its owner asked, nothing else.
//!
//! Whatever else a request asks for (a CA flag, a validity, extensions, other names) is not read, with one exception:
//! a URI in the requested subject alternative name is compared with the identity that will be issued, so that a
//! mistaken or malicious request fails instead of silently getting another identity.

use avouch_spiffe::x509::{CertificateRequest, KeyAlgorithm, MAX_CSR_BYTES, NoPossession};
use avouch_spiffe::{Reason, SpiffeId, SpiffeIdError};

/// A request whose proof of possession holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    spki_der: Vec<u8>,
    key_algorithm: KeyAlgorithm,
    spiffe_id: Option<SpiffeId>,
}

/// A certificate signing request that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// The request is larger than the limit, which no legitimate request reaches.
    #[error("the certificate signing request has {size} bytes, more than {MAX_CSR_BYTES}")]
    TooLarge {
        /// The number of its bytes.
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
    /// The requested subject alternative name has more than one URI.
    #[error("the request names {count} URIs in its subject alternative name, more than one")]
    ManyUris {
        /// The number of URIs.
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
        let request = CertificateRequest::parse(der).map_err(|_| CsrError::NotDer)?;
        if !request.is_exact() {
            return Err(CsrError::TrailingData);
        }
        if request.version() != 1 {
            return Err(CsrError::Version);
        }
        let key_algorithm = match request.key_algorithm() {
            Ok(key @ (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384)) => key,
            Ok(other) => return Err(CsrError::KeyAlgorithm { algorithm: other.to_string() }),
            Err(refused) => return Err(CsrError::KeyAlgorithm { algorithm: refused.algorithm }),
        };
        request.verify_possession().map_err(|error| match error {
            NoPossession::Algorithm => {
                CsrError::SignatureAlgorithm { algorithm: request.signature_algorithm().to_owned() }
            }
            _ => CsrError::Signature,
        })?;
        let spiffe_id = requested_identity(&request)?;
        Ok(Self { spki_der: request.spki_der().to_vec(), key_algorithm, spiffe_id })
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

    /// Refuses a request that names a SPIFFE ID other than the one it would be issued for.
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

/// The one URI of all requested subject alternative names, if any.
fn requested_identity(request: &CertificateRequest) -> Result<Option<SpiffeId>, CsrError> {
    let names = request.names().map_err(|_| CsrError::SanUnreadable)?;
    match names.uris.as_slice() {
        [] => Ok(None),
        [uri] => Ok(Some(uri.parse()?)),
        many => Err(CsrError::ManyUris { count: many.len() }),
    }
}
