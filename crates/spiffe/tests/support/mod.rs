//! Certificates that are right, and the means to make each thing wrong with them. Signed by rcgen, whose output the
//! checks under test have never seen as their own.
#![allow(dead_code, reason = "each test file uses its own part")]

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

/// `id-ce-keyUsage`, `id-ce-subjectAltName`.
pub(crate) const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub(crate) const SAN: &[u64] = &[2, 5, 29, 17];
pub(crate) const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub(crate) const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// The parameters of a right leaf.
pub(crate) fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&[0x01, 0x98, 0xab]));
    params.not_before = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(1_800_003_600).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![uri("spiffe://market.example/orders")];
    params
}

/// The parameters of a right root.
pub(crate) fn root() -> CertificateParams {
    let mut params = leaf();
    params.distinguished_name.push(rcgen::DnType::CommonName, "market.example root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![];
    params.subject_alt_names = vec![uri("spiffe://market.example")];
    params
}

/// An extension by hand.
pub(crate) fn extension(oid: &[u64], critical: bool, value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value);
    extension.set_criticality(critical);
    extension
}

pub(crate) fn sign(params: &CertificateParams) -> Vec<u8> {
    sign_with(params, &KeyPair::generate().unwrap())
}

pub(crate) fn sign_with(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.self_signed(key).unwrap().der().to_vec()
}

/// Tag, length, value.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    if value.len() < 0x80 {
        out.push(u8::try_from(value.len()).unwrap());
    } else {
        let octets: Vec<u8> = value.len().to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
        out.push(0x80 | u8::try_from(octets.len()).unwrap());
        out.extend(octets);
    }
    out.extend(value);
    out
}

/// A certificate written octet by octet around a `SubjectPublicKeyInfo`; its signature is rubbish.
pub(crate) fn by_hand(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::default();
    change(&mut parts);
    let ecdsa_sha256 = tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
    let inner = parts.inner_algorithm.unwrap_or_else(|| ecdsa_sha256.clone());
    let name = tlv(0x30, &[]);
    let tbs = [
        parts.version,
        tlv(0x02, &parts.serial),
        inner,
        name.clone(),
        tlv(0x30, &[tlv(0x17, parts.not_before), tlv(0x17, parts.not_after)].concat()),
        name,
        parts.spki,
        if parts.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa3, &tlv(0x30, &parts.extensions.concat()))
        },
    ];
    let outer = [tlv(0x30, &tbs.concat()), ecdsa_sha256, tlv(0x03, &[0, 0x30, 0])].concat();
    tlv(0x30, &outer)
}

/// What [`by_hand`] puts together.
pub(crate) struct Parts {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) inner_algorithm: Option<Vec<u8>>,
    pub(crate) not_before: &'static [u8],
    pub(crate) not_after: &'static [u8],
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Default for Parts {
    fn default() -> Self {
        use rcgen::PublicKeyData as _;
        let san = tlv(0x30, &tlv(0x86, b"spiffe://market.example/orders"));
        let purposes =
            [tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 3, 1]), tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 3, 2])].concat();
        Self {
            version: tlv(0xa0, &tlv(0x02, &[2])),
            serial: vec![1],
            inner_algorithm: None,
            not_before: b"270115080000Z",
            not_after: b"270115090000Z",
            spki: KeyPair::generate().unwrap().subject_public_key_info(),
            extensions: vec![
                raw_extension(0x11, true, &san),
                raw_extension(0x0f, true, &[0x03, 0x02, 0x07, 0x80]),
                raw_extension(0x25, false, &tlv(0x30, &purposes)),
                raw_extension(0x13, true, &[0x30, 0x00]),
            ],
        }
    }
}

/// The DER of an extension `2.5.29.last`.
pub(crate) fn raw_extension(last: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { vec![0x01, 0x01, 0xff] } else { vec![] };
    tlv(0x30, &[tlv(0x06, &[0x55, 0x1d, last]), critical, tlv(0x04, value)].concat())
}

/// An RSA `SubjectPublicKeyInfo` with a modulus of this many bits.
pub(crate) fn rsa_spki(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] = 0xff >> (modulus.len() * 8 - bits);
    if modulus[0] & 0x80 != 0 {
        modulus.insert(0, 0);
    }
    let key = tlv(0x30, &[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat());
    let algorithm = [tlv(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]].concat();
    tlv(0x30, &[tlv(0x30, &algorithm), tlv(0x03, &[vec![0], key].concat())].concat())
}

/// An elliptic curve `SubjectPublicKeyInfo` of the curve with this DER identifier.
pub(crate) fn ec_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = [tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), tlv(0x06, curve)].concat();
    tlv(0x30, &[tlv(0x30, &algorithm), tlv(0x03, &[&[0], point].concat())].concat())
}
