//! A root, a signing authority and honest or hostile signing requests, at a fixed time.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, SystemTime};

use avouch_issuance::{Csr, Issued, PrivateKey, Profiles, Request, Root, SigningAuthority, SystemEntropy};
use avouch_spiffe::{Bundle, SpiffeId, TrustDomain};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The time of every test.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn domain() -> TrustDomain {
    "market.example".parse().unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&domain(), path).unwrap()
}

pub(crate) struct Ca {
    pub(crate) profiles: Profiles,
    pub(crate) root: Root,
    pub(crate) authority: SigningAuthority,
    pub(crate) authority_key_pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let profiles = Profiles::embedded().unwrap();
        let root =
            Root::create(&domain(), &profiles.root, PrivateKey::generate().unwrap(), now(), &SystemEntropy)
                .unwrap();
        let key = PrivateKey::generate().unwrap();
        let authority_key_pem = key.to_pkcs8_pem().to_string();
        let authority =
            SigningAuthority::create(&root, &profiles.signing_authority, key, now(), &SystemEntropy).unwrap();
        Self { profiles, root, authority, authority_key_pem }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(domain(), vec![self.root.certificate().clone()], 1)
    }

    pub(crate) fn issue(&self, request: Request) -> Issued {
        request
            .check(&self.profiles.svid, &self.authority, now(), &SystemEntropy)
            .unwrap()
            .sign(&self.authority)
            .unwrap()
    }

    /// An SVID for a new P-256 key.
    pub(crate) fn svid(&self, path: &str) -> Issued {
        self.issue(Request::for_csr(&csr(), id(path)).unwrap())
    }
}

/// An honest request.
pub(crate) fn csr() -> Csr {
    Csr::parse(&HandMade::default().der()).unwrap()
}

/// A request written octet by octet, so that nothing keeps it from being wrong.
#[derive(Default)]
pub(crate) struct HandMade {
    /// DER extensions of an extension request, one after the other.
    pub(crate) extensions: Vec<u8>,
    /// What stands behind the list of extensions.
    pub(crate) after_extensions: Vec<u8>,
    /// A version other than v1.
    pub(crate) version: u8,
    /// A signature over something else.
    pub(crate) forged: bool,
    /// Another signature algorithm's identifier.
    pub(crate) signature_oid: Option<&'static [u8]>,
}

/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `extensionRequest`.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

impl HandMade {
    pub(crate) fn der(&self) -> Vec<u8> {
        let key = PrivateKey::generate().unwrap();
        let attributes = if self.extensions.is_empty() {
            Vec::new()
        } else {
            let request = [tlv(0x30, &self.extensions), self.after_extensions.clone()].concat();
            tlv(0x30, &[tlv(0x06, EXTENSION_REQUEST), tlv(0x31, &request)].concat())
        };
        let subject = tlv(0x30, &[]);
        let info = [tlv(0x02, &[self.version]), subject, key.spki_der(), tlv(0xa0, &attributes)].concat();
        let info = tlv(0x30, &info);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.pkcs8_der()).unwrap();
        let signed: &[u8] = if self.forged { b"something else" } else { &info };
        let signature = pair.sign(&SystemRandom::new(), signed).unwrap();
        let algorithm = tlv(0x30, &tlv(0x06, self.signature_oid.unwrap_or(ECDSA_SHA256)));
        let bits = [&[0], signature.as_ref()].concat();
        tlv(0x30, &[info, algorithm, tlv(0x03, &bits)].concat())
    }

    pub(crate) fn with_uris(uris: &[&str]) -> Self {
        let names: Vec<u8> = uris.iter().flat_map(|uri| tlv(0x86, uri.as_bytes())).collect();
        Self { extensions: extension(&[0x55, 0x1d, 0x11], false, &tlv(0x30, &names)), ..Self::default() }
    }
}

/// One X.509 extension.
pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[0xff]) } else { Vec::new() };
    tlv(0x30, &[tlv(0x06, oid), critical, tlv(0x04, value)].concat())
}

/// Tag, length, value.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = value.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap());
    } else {
        let octets: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
        out.push(0x80 | u8::try_from(octets.len()).unwrap());
        out.extend(octets);
    }
    out.extend(value);
    out
}

/// The DER of a request that OpenSSL made, from `tests/data`.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}.csr", env!("CARGO_MANIFEST_DIR"));
    let blocks = avouch_files::pem::blocks(&std::fs::read(path).unwrap()).unwrap();
    blocks[0].der.to_vec()
}
