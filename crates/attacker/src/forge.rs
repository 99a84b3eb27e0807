//! Certificates and requests, written octet by octet, so that each thing about them can be made wrong by itself.
//!
//! Nothing is checked. A [`Draft`] starts out right; what is changed in it afterwards is what is wrong with the result.

mod extension;
mod key;

use crate::Error;
use crate::der::{self, bits, oid, sequence, tlv};

pub use extension::{Extension, ce, purpose, usage};
pub use key::{Credentials, Key, pem_blocks};

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

/// The SubjectPublicKeyInfo of an RSA key of this many bits, which nobody has.
#[must_use]
pub fn rsa_spki(bit_length: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bit_length.div_ceil(8)];
    modulus.insert(0, 0);
    let key = sequence(&[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])]);
    let algorithm = [oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]];
    sequence(&[sequence(&algorithm), bits(&key)])
}

/// A signing authority.
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
    /// A self-signed root authority without fault.
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

    /// An authority below this one.
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

    /// An authority from stolen files.
    ///
    /// # Errors
    /// When they are not what they should be.
    pub fn stolen(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let der = pem_blocks(certificate_pem, "CERTIFICATE")?.into_iter().next().ok_or("no certificate")?;
        let name = der::subject(&der).ok_or("the certificate has no subject")?;
        Ok(Self { name, key: Key::from_pem(key_pem)?, der })
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
    /// DER of the validity, where the two times cannot express it.
    pub validity: Option<Vec<u8>>,
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
            validity: None,
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
        let times = || sequence(&[der::time(self.not_before), der::time(self.not_after)]);
        sequence(&[
            version,
            tlv(0x02, &self.serial),
            self.inner_algorithm.clone(),
            issuer.to_vec(),
            self.validity.clone().unwrap_or_else(times),
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
