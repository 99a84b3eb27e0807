//! Certificates and requests, written octet by octet, so that each thing about them can be made wrong by itself.
//!
//! Nothing is checked. A [`Draft`] starts out right; what is changed in it afterwards is what is wrong with the result.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;
use crate::der::{self, bits, oid, sequence, tlv};

/// `ecdsa-with-SHA256`, as an AlgorithmIdentifier.
#[must_use]
pub fn ecdsa_sha256() -> Vec<u8> {
    sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])])
}

/// `ecdsa-with-SHA1`, as an AlgorithmIdentifier.
#[must_use]
pub fn ecdsa_sha1() -> Vec<u8> {
    sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1])])
}

/// A P-256 key.
pub struct Key(EcdsaKeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

impl Key {
    /// A fresh one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?))
    }

    /// One that was found: PKCS#8 in PEM.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let pkcs8 = pem_blocks(pem, "PRIVATE KEY")?.into_iter().next().ok_or("no private key in the file")?;
        Ok(Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8)?))
    }

    /// Its SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let algorithm =
            [oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])];
        sequence(&[sequence(&algorithm), bits(self.0.public_key().as_ref())])
    }

    /// Its private form.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn private(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let pkcs8 = self.0.to_pkcs8v1()?;
        Ok(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()).into())
    }

    /// An ECDSA signature with SHA-256.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }
}

/// The SubjectPublicKeyInfo of an RSA key of this many bits, which nobody has.
#[must_use]
pub fn rsa_spki(bit_length: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bit_length.div_ceil(8)];
    modulus.insert(0, 0);
    let key = sequence(&[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])]);
    let algorithm = [oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]];
    sequence(&[sequence(&algorithm), bits(&key)])
}

/// Somebody who signs.
#[derive(Debug)]
pub struct Authority {
    /// The DER of the name it signs under.
    pub name: Vec<u8>,
    /// Its key.
    pub key: Key,
    /// Its certificate.
    pub der: Vec<u8>,
}

impl Authority {
    /// One that signed itself, as good as any.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn root(common_name: &str, now: i64) -> Result<Self, Error> {
        let key = Key::generate()?;
        let draft = Draft::authority(common_name, &key, now);
        let name = draft.subject.clone();
        let der = draft.signed_as(&name, &key)?;
        Ok(Self { name, key, der })
    }

    /// One below this.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn below(&self, common_name: &str, now: i64, change: impl FnOnce(&mut Draft)) -> Result<Self, Error> {
        let key = Key::generate()?;
        let mut draft = Draft::authority(common_name, &key, now);
        change(&mut draft);
        let der = draft.signed_by(self)?;
        Ok(Self { name: draft.subject, key, der })
    }

    /// One whose files were found.
    ///
    /// # Errors
    /// When they are not what they should be.
    pub fn stolen(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let der = pem_blocks(certificate_pem, "CERTIFICATE")?.into_iter().next().ok_or("no certificate")?;
        let name = der::subject(&der).ok_or("the certificate has no subject")?;
        Ok(Self { name, key: Key::from_pem(key_pem)?, der })
    }
}

/// An extension.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Its object identifier's encoded arcs.
    pub oid: Vec<u8>,
    /// Whether it is critical.
    pub critical: bool,
    /// Its value, DER.
    pub value: Vec<u8>,
}

/// `id-ce`: the last arc of an extension of RFC 5280.
pub mod ce {
    /// Key usage.
    pub const KEY_USAGE: u8 = 15;
    /// Subject alternative name.
    pub const SAN: u8 = 17;
    /// Basic constraints.
    pub const BASIC_CONSTRAINTS: u8 = 19;
    /// Name constraints.
    pub const NAME_CONSTRAINTS: u8 = 30;
    /// Extended key usage.
    pub const EXTENDED_KEY_USAGE: u8 = 37;
}

/// Bits of a key usage, the first octet.
pub mod usage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: u8 = 0x80;
    /// keyAgreement.
    pub const KEY_AGREEMENT: u8 = 0x08;
    /// keyCertSign.
    pub const KEY_CERT_SIGN: u8 = 0x04;
    /// cRLSign.
    pub const CRL_SIGN: u8 = 0x02;
}

/// Purposes of an extended key usage: the last arc below `id-kp`.
pub mod purpose {
    /// serverAuth.
    pub const SERVER_AUTH: u8 = 1;
    /// clientAuth.
    pub const CLIENT_AUTH: u8 = 2;
    /// codeSigning.
    pub const CODE_SIGNING: u8 = 3;
}

impl Extension {
    /// An extension of RFC 5280.
    #[must_use]
    pub fn ce(last: u8, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: vec![0x55, 0x1d, last], critical, value }
    }

    /// One that nobody has ever heard of.
    #[must_use]
    pub fn unheard_of(critical: bool, size: usize) -> Self {
        Self { oid: vec![0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 7], critical, value: tlv(0x04, &vec![7; size]) }
    }

    /// A key usage.
    #[must_use]
    pub fn key_usage(octet: u8) -> Self {
        let unused = u8::try_from(octet.trailing_zeros().min(7)).unwrap_or(0);
        Self::ce(ce::KEY_USAGE, true, tlv(0x03, &[unused, octet]))
    }

    /// An extended key usage.
    #[must_use]
    pub fn purposes(purposes: &[u8]) -> Self {
        let oids: Vec<_> = purposes.iter().map(|last| oid(&[0x2b, 6, 1, 5, 5, 7, 3, *last])).collect();
        Self::ce(ce::EXTENDED_KEY_USAGE, false, sequence(&oids))
    }

    /// Basic constraints.
    #[must_use]
    pub fn constraints(ca: bool, path_length: Option<u8>) -> Self {
        let ca = if ca { tlv(0x01, &[0xff]) } else { Vec::new() };
        let path_length = path_length.map(|length| tlv(0x02, &[length])).unwrap_or_default();
        Self::ce(ce::BASIC_CONSTRAINTS, true, sequence(&[ca, path_length]))
    }

    /// A subject alternative name of URIs.
    #[must_use]
    pub fn uris(uris: &[&str]) -> Self {
        let names: Vec<_> = uris.iter().map(|uri| tlv(0x86, uri.as_bytes())).collect();
        Self::ce(ce::SAN, true, sequence(&names))
    }

    /// A subject alternative name of one DNS name.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self::ce(ce::SAN, true, sequence(&[tlv(0x82, name.as_bytes())]))
    }

    fn der(&self) -> Vec<u8> {
        let critical = if self.critical { tlv(0x01, &[0xff]) } else { Vec::new() };
        sequence(&[oid(&self.oid), critical, tlv(0x04, &self.value)])
    }
}

/// A certificate before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// 3 for version 3; 1 leaves the field and the extensions out.
    pub version: u8,
    /// The octets of the serial number.
    pub serial: Vec<u8>,
    /// The algorithm inside the signed part.
    pub inner_algorithm: Vec<u8>,
    /// The algorithm beside the signature.
    pub outer_algorithm: Vec<u8>,
    /// First second, since 1970.
    pub not_before: i64,
    /// Last second, since 1970.
    pub not_after: i64,
    /// DER of the subject.
    pub subject: Vec<u8>,
    /// DER of the public key.
    pub spki: Vec<u8>,
    /// Extensions, in order.
    pub extensions: Vec<Extension>,
}

const HOUR: i64 = 3600;

impl Draft {
    fn new(subject: Vec<u8>, key: &Key, now: i64, extensions: Vec<Extension>) -> Self {
        let mut serial = vec![0; 16];
        // Serial numbers of forgeries need not be unguessable; a repeated one is a forgery too.
        let _ = aws_lc_rs::rand::fill(&mut serial);
        if let Some(first) = serial.first_mut() {
            *first = 0x11;
        }
        Self {
            version: 3,
            serial,
            inner_algorithm: ecdsa_sha256(),
            outer_algorithm: ecdsa_sha256(),
            not_before: now - HOUR,
            not_after: now + HOUR,
            subject,
            spki: key.spki(),
            extensions,
        }
    }

    /// A right X.509-SVID for a SPIFFE ID.
    #[must_use]
    pub fn svid(spiffe_id: &str, key: &Key, now: i64) -> Self {
        let extensions = vec![
            Extension::uris(&[spiffe_id]),
            Extension::key_usage(usage::DIGITAL_SIGNATURE),
            Extension::purposes(&[purpose::SERVER_AUTH, purpose::CLIENT_AUTH]),
            Extension::constraints(false, None),
        ];
        Self::new(der::name(""), key, now, extensions)
    }

    /// A right certificate of an authority.
    #[must_use]
    pub fn authority(common_name: &str, key: &Key, now: i64) -> Self {
        let extensions = vec![
            Extension::key_usage(usage::KEY_CERT_SIGN | usage::CRL_SIGN),
            Extension::constraints(true, None),
        ];
        Self::new(der::name(common_name), key, now, extensions)
    }

    /// Puts an extension in the place of the one with the same identifier, or behind the others.
    pub fn set(&mut self, extension: Extension) {
        match self.extensions.iter_mut().find(|it| it.oid == extension.oid) {
            Some(place) => *place = extension,
            None => self.extensions.push(extension),
        }
    }

    /// Takes an extension of RFC 5280 away.
    pub fn remove(&mut self, last: u8) {
        self.extensions.retain(|extension| extension.oid != [0x55, 0x1d, last]);
    }

    /// The certificate, signed by an authority.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn signed_by(&self, authority: &Authority) -> Result<Vec<u8>, Error> {
        self.signed_as(&authority.name, &authority.key)
    }

    /// The certificate, signed by a key that claims a name.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn signed_as(&self, issuer: &[u8], key: &Key) -> Result<Vec<u8>, Error> {
        let tbs = self.tbs(issuer);
        let signature = key.sign(&tbs)?;
        Ok(sequence(&[tbs, self.outer_algorithm.clone(), bits(&signature)]))
    }

    fn tbs(&self, issuer: &[u8]) -> Vec<u8> {
        let version = match self.version {
            1 => Vec::new(),
            version => tlv(0xa0, &tlv(0x02, &[version.wrapping_sub(1)])),
        };
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        let extensions = match self.version {
            1 => Vec::new(),
            _ => tlv(0xa3, &sequence(&extensions)),
        };
        sequence(&[
            version,
            tlv(0x02, &self.serial),
            self.inner_algorithm.clone(),
            issuer.to_vec(),
            sequence(&[der::time(self.not_before), der::time(self.not_after)]),
            self.subject.clone(),
            self.spki.clone(),
            extensions,
        ])
    }
}

/// A certificate signing request (PKCS#10) that names these URIs, or nobody.
///
/// # Errors
/// When there is no randomness.
pub fn request(key: &Key, uris: &[&str]) -> Result<Vec<u8>, Error> {
    let attributes = match uris {
        [] => Vec::new(),
        uris => {
            let extensions = sequence(&[Extension::uris(uris).der()]);
            // extensionRequest (PKCS#9)
            sequence(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14]), tlv(0x31, &extensions)])
        }
    };
    let info = sequence(&[tlv(0x02, &[0]), der::name(""), key.spki(), tlv(0xa0, &attributes)]);
    let signature = key.sign(&info)?;
    Ok(sequence(&[info, ecdsa_sha256(), bits(&signature)]))
}

/// What is shown in a handshake: a chain, and the key that signs for it.
#[derive(Debug)]
pub struct Credentials {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key, whether or not it is the leaf's.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// A chain and a key that need not fit.
    ///
    /// # Errors
    /// When the key can't be written.
    pub fn new(chain: Vec<Vec<u8>>, key: &Key) -> Result<Self, Error> {
        Ok(Self { chain: chain.into_iter().map(CertificateDer::from).collect(), key: key.private()? })
    }

    /// Those of a file that holds a key and a chain, such as a workload's stored identity.
    ///
    /// # Errors
    /// When it does not.
    pub fn stolen(pem: &str) -> Result<(Self, Key), Error> {
        let key = Key::from_pem(pem)?;
        Ok((Self::new(pem_blocks(pem, "CERTIFICATE")?, &key)?, key))
    }
}

/// The contents of a PEM file's blocks of one kind.
///
/// # Errors
/// When one is not base64.
pub fn pem_blocks(pem: &str, label: &str) -> Result<Vec<Vec<u8>>, Error> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let blocks = pem.split(begin.as_str()).skip(1).filter_map(|rest| rest.split(end.as_str()).next());
    let decode = |block: &str| STANDARD.decode(block.split_whitespace().collect::<String>());
    blocks.map(|block| decode(block).map_err(Error::from)).collect()
}
