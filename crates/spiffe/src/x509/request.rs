//! PKCS#10 certificate signing requests (RFC 2986), read for the issuer and for inspection.
//!
//! Reading judges nothing but the encoding: each thing that a request may have wrong stands in a field or a method of its
//! own, so that the issuer refuses the first one and an inspection shows all of them. A request asks for more than an
//! issuer of SVIDs reads; what else it asks for is listed in [`RequestedNames::others`].

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
    OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};

use super::key::{KeyAlgorithm, KeyRefused};
use super::name;

/// The largest request that is read: one with an ECDSA key and a few names has less than 1 KiB.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

/// A certificate signing request as it was read.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    is_exact: bool,
    version: u32,
    subject: String,
    spki_der: Vec<u8>,
    key: Result<KeyAlgorithm, KeyRefused>,
    public_key: Vec<u8>,
    signature_algorithm: String,
    hash: Option<Hash>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    names: Result<RequestedNames, UnreadableNames>,
}

/// The names that a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedNames {
    /// The URIs of the subject alternative name, as they were sent.
    pub uris: Vec<String>,
    /// The other things asked for, in the order of the request.
    pub others: Vec<RequestedOther>,
}

/// A thing other than a URI that a request asks for. No SVID is issued with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestedOther {
    /// A DNS name, as it was sent.
    DnsName(String),
    /// A name that is neither a URI nor a DNS name.
    OtherName,
    /// Basic constraints: whether the certificate is to be a CA's.
    Ca(bool),
    /// Any other extension, by its object identifier.
    Extension(String),
}

/// The bytes are not the DER encoding of a PKCS#10 request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the DER encoding of a PKCS#10 certificate signing request")]
pub struct NotARequest;

/// The error of requested names that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableNames {
    /// The attribute that asks for extensions has more than one value.
    #[error("the request for extensions has more than one value")]
    ManyRequests,
    /// The subject alternative name has more than one value.
    #[error("the subject alternative name has more than one value")]
    ManyValues,
    /// The subject alternative name cannot be parsed.
    #[error("the subject alternative name cannot be read")]
    SubjectAlternativeName,
    /// One of the names cannot be parsed.
    #[error("a name cannot be read")]
    Name,
}

/// The error of a request that does not prove possession of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPossession {
    /// The signature's algorithm is not one of ECDSA on P-256 or P-384 with SHA-256, SHA-384 or SHA-512, or it is not one
    /// of the key in the request.
    #[error("not verifiable with such a key and algorithm")]
    Algorithm,
    /// The signature does not verify.
    #[error("the signature is not by the key in the request")]
    Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl CertificateRequest {
    /// Reads DER.
    ///
    /// # Errors
    /// For bytes that are no request at all.
    pub fn parse(der: &[u8]) -> Result<Self, NotARequest> {
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| NotARequest)?;
        let info = &request.certification_request_info;
        let signature_algorithm = &request.signature_algorithm.algorithm;
        Ok(Self {
            // The parser ignores trailing data after the attributes and after the signature.
            is_exact: rest.is_empty()
                && matches!(elements(info.raw), Some(3 | 4))
                && elements(der) == Some(3),
            version: info.version.0.saturating_add(1),
            subject: name::text(&info.subject),
            spki_der: info.subject_pki.raw.to_vec(),
            key: KeyAlgorithm::of_spki(info.subject_pki.raw),
            public_key: info.subject_pki.subject_public_key.as_ref().to_vec(),
            signature_algorithm: signature_algorithm.to_id_string(),
            hash: Hash::of(signature_algorithm),
            signed: info.raw.to_vec(),
            signature: request.signature_value.as_ref().to_vec(),
            names: RequestedNames::of(&request),
        })
    }

    /// Whether the bytes hold the request and nothing else, neither after it nor inside of it after its last part.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The version as people count it; RFC 2986 has only version 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The subject's distinguished name (RFC 4514), control characters escaped.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The public key's algorithm.
    ///
    /// # Errors
    /// When avouch accepts no key of that algorithm or size.
    pub fn key_algorithm(&self) -> Result<KeyAlgorithm, KeyRefused> {
        self.key.clone()
    }

    /// The object identifier of the algorithm that the request is signed with.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.signature_algorithm
    }

    /// The name of that algorithm, if it is an accepted one, as in `ECDSA with SHA-256`.
    #[must_use]
    pub fn signature_name(&self) -> Option<&'static str> {
        Some(match self.hash? {
            Hash::Sha256 => "ECDSA with SHA-256",
            Hash::Sha384 => "ECDSA with SHA-384",
            Hash::Sha512 => "ECDSA with SHA-512",
        })
    }

    /// The names that the request asks for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn names(&self) -> Result<&RequestedNames, UnreadableNames> {
        self.names.as_ref().map_err(|error| *error)
    }

    /// Verifies that the request is signed by the key in it (RFC 2986 §4.2), with the pair of algorithms that key and
    /// signature really have: a P-384 key that signs with SHA-256, as OpenSSL does by default, is fine.
    ///
    /// # Errors
    /// When it is not, or with other algorithms than are accepted.
    pub fn verify_possession(&self) -> Result<(), NoPossession> {
        let algorithm = self.verification().ok_or(NoPossession::Algorithm)?;
        UnparsedPublicKey::new(algorithm, &self.public_key)
            .verify(&self.signed, &self.signature)
            .map_err(|_| NoPossession::Signature)
    }

    fn verification(&self) -> Option<&'static EcdsaVerificationAlgorithm> {
        Some(match (self.key.as_ref().ok()?, self.hash?) {
            (KeyAlgorithm::EcdsaP256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
            (KeyAlgorithm::EcdsaP384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
            _ => return None,
        })
    }
}

impl Hash {
    fn of(signature_algorithm: &Oid<'_>) -> Option<Self> {
        [
            (OID_SIG_ECDSA_WITH_SHA256, Self::Sha256),
            (OID_SIG_ECDSA_WITH_SHA384, Self::Sha384),
            (OID_SIG_ECDSA_WITH_SHA512, Self::Sha512),
        ]
        .into_iter()
        .find_map(|(oid, hash)| (*signature_algorithm == oid).then_some(hash))
    }
}

impl RequestedNames {
    fn of(request: &X509CertificationRequest<'_>) -> Result<Self, UnreadableNames> {
        let mut names = Self::default();
        for attribute in request.certification_request_info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else {
                continue;
            };
            if !is_one_value(attribute.value) {
                return Err(UnreadableNames::ManyRequests);
            }
            for extension in &requested.extensions {
                names.add(extension)?;
            }
        }
        Ok(names)
    }

    fn add(&mut self, extension: &X509Extension<'_>) -> Result<(), UnreadableNames> {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                if !is_one_value(extension.value) {
                    return Err(UnreadableNames::ManyValues);
                }
                for name in &san.general_names {
                    match name {
                        GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                        GeneralName::Invalid(..) => return Err(UnreadableNames::Name),
                        GeneralName::DNSName(name) => {
                            self.others.push(RequestedOther::DnsName((*name).to_owned()));
                        }
                        _ => self.others.push(RequestedOther::OtherName),
                    }
                }
            }
            _ if extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME => {
                return Err(UnreadableNames::SubjectAlternativeName);
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.others.push(RequestedOther::Ca(constraints.ca));
            }
            _ => self.others.push(RequestedOther::Extension(extension.oid.to_id_string())),
        }
        Ok(())
    }
}

/// Whether this is one value with nothing after it: the parser would ignore a second value, and the names in it.
fn is_one_value(der: &[u8]) -> bool {
    matches!(Any::from_der(der), Ok(([], _)))
}

/// The number of elements of a sequence.
fn elements(der: &[u8]) -> Option<usize> {
    let (mut count, mut rest) = (0, Any::from_der(der).ok()?.1.data);
    while !rest.is_empty() {
        (rest, _) = Any::from_der(rest).ok()?;
        count += 1;
    }
    Some(count)
}
