//! What every target meets: a fixed time, two trust domains, and authorities whose keys die with the process.
//!
//! Beside the roots that are made anew each time there is one that is committed, as a certificate without its key: the
//! chains among the seeds end in it, and stay valid because the time stands still.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use avouch_identity::TrustStore;
use avouch_spiffe::{Bundle, BundleSet, TrustDomain};
use avouch_time::clock::{ManualClock, SharedClock};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};

use crate::{der, oracle};

/// The trust domain of the code under test.
pub const DOMAIN: &str = "market.example";
/// Another one, whose bundle is loaded too.
pub const FOREIGN_DOMAIN: &str = "other.example";
/// The subject of every root, live or committed.
pub const ROOT_NAME: &str = "fuzz root";
/// The subject of every signing authority.
pub const AUTHORITY_NAME: &str = "fuzz authority";
/// The root of the chains among the seeds; nobody has its key any more.
pub const COMMITTED_ROOT: &[u8] = include_bytes!("../seeds/root.der");

/// The time of everything here.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A clock that stands at [`now`].
#[must_use]
pub fn clock() -> SharedClock {
    ManualClock::new(now()).shared()
}

/// From an hour before [`now`] to a year after it.
fn life() -> std::ops::Range<SystemTime> {
    now() - Duration::from_secs(3600)..now() + Duration::from_secs(365 * 86_400)
}

/// A key whose owner signs what it is told to.
pub struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    /// The public key as `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

/// A key with a certificate for it.
pub struct Authority {
    /// The certificate.
    pub der: Vec<u8>,
    /// Its key.
    pub key: Key,
}

/// Two trust domains and their authorities.
pub struct World {
    /// The bundles of both domains.
    pub trust: TrustStore,
    /// The roots' certificates, by trust domain.
    pub anchors: Vec<(&'static str, Vec<u8>)>,
    /// The live root of [`DOMAIN`].
    pub root: Authority,
    /// The signing authority below it.
    pub authority: Authority,
    /// The same for [`FOREIGN_DOMAIN`].
    pub foreign_authority: Authority,
}

/// The world, made once.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// [`DOMAIN`], parsed.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant")]
pub fn domain() -> TrustDomain {
    DOMAIN.parse().expect("a trust domain")
}

#[expect(clippy::expect_used, reason = "nothing can be tested without a world")]
impl World {
    fn new() -> Self {
        let (root, authority) = hierarchy();
        let (foreign_root, foreign_authority) = hierarchy();
        let anchors = vec![
            (DOMAIN, COMMITTED_ROOT.to_vec()),
            (DOMAIN, root.der.clone()),
            (FOREIGN_DOMAIN, foreign_root.der),
        ];
        let mut bundles = BundleSet::new();
        for name in [DOMAIN, FOREIGN_DOMAIN] {
            let roots: Vec<_> =
                anchors.iter().filter(|(domain, _)| *domain == name).map(|(_, der)| der).collect();
            let domain = name.parse().expect("a trust domain");
            bundles.insert(Arc::new(Bundle::from_ders(domain, &roots, 1).expect("roots")));
        }
        Self { trust: TrustStore::new(bundles), anchors, root, authority, foreign_authority }
    }

    /// The bundles of both domains.
    #[must_use]
    pub fn bundles(&self) -> BundleSet {
        self.trust.bundles().clone()
    }
}

fn hierarchy() -> (Authority, Authority) {
    let (root, key) = (Key::new(), Key::new());
    let root =
        Authority { der: root.certify(&root.spki, &authority_params(ROOT_NAME), ROOT_NAME), key: root };
    let der = root.key.certify(&key.spki, &authority_params(AUTHORITY_NAME), ROOT_NAME);
    (root, Authority { der, key })
}

impl Authority {
    /// Signs a `TBSCertificate` as it is, whatever it says; the signature algorithm outside is the one inside.
    #[must_use]
    pub fn sign(&self, tbs: &[u8]) -> Vec<u8> {
        self.key.sign_tbs(tbs)
    }

    /// A right SVID for a key.
    #[must_use]
    pub fn svid(&self, spiffe_id: &str, spki: &[u8]) -> Vec<u8> {
        self.key.certify(spki, &leaf_params(spiffe_id), AUTHORITY_NAME)
    }
}

#[expect(clippy::expect_used, reason = "nothing can be tested without a key")]
impl Key {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "randomness is no default")]
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let pkcs8 = pair.to_pkcs8v1().expect("a key").as_ref().to_vec();
        let point = [&[0], pair.public_key().as_ref()].concat();
        let spki = der::sequence(&[P256_KEY, &der::tlv(der::BIT_STRING, &point)]);
        Self { pair, pkcs8, spki }
    }

    /// The private key as PKCS#8.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// An ECDSA signature with SHA-256.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    /// What was signed, the algorithm, and the signature, as certificates and requests have them.
    #[must_use]
    pub fn signed(&self, message: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let signature = [&[0], self.sign(message).as_slice()].concat();
        der::sequence(&[message, algorithm, &der::tlv(der::BIT_STRING, &signature)])
    }

    fn sign_tbs(&self, tbs: &[u8]) -> Vec<u8> {
        let inside = der::inside(tbs, der::SEQUENCE).unwrap_or_default();
        let algorithm = inside.get(2).map_or_else(ecdsa_sha256, |algorithm| algorithm.raw.to_vec());
        self.signed(tbs, &algorithm)
    }

    /// A certificate of these parameters for `spki`.
    fn certify(&self, spki: &[u8], params: &CertificateParams, issuer: &str) -> Vec<u8> {
        let own = rcgen::KeyPair::try_from(self.pkcs8()).expect("a key");
        let mut signer = CertificateParams::default();
        signer.distinguished_name = name(issuer);
        let issuer = rcgen::Issuer::new(signer, own);
        let key = rcgen::SubjectPublicKeyInfo::from_der(spki).expect("a public key");
        params.signed_by(&key, &issuer).expect("a certificate").der().to_vec()
    }
}

/// `id-ecPublicKey` on P-256.
const P256_KEY: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];

/// The algorithm identifier of `ecdsa-with-SHA256`.
#[must_use]
pub fn ecdsa_sha256() -> Vec<u8> {
    der::sequence(&[&der::tlv(der::OID, oracle::ECDSA_SHA256)])
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if !common.is_empty() {
        name.push(DnType::CommonName, common);
    }
    name
}

/// The parameters of a right SVID.
///
/// # Panics
/// When the ID has characters outside of ASCII.
#[must_use]
#[expect(clippy::expect_used, reason = "IDs are constants of this crate")]
pub fn leaf_params(spiffe_id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("");
    params.serial_number = Some(SerialNumber::from_slice(&[0x01, 0x98, 0xab]));
    params.not_before = life().start.into();
    params.not_after = life().end.into();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().expect("ascii"))];
    params
}

/// The parameters of a right authority.
#[must_use]
pub fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = leaf_params(&format!("spiffe://{DOMAIN}"));
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![];
    params
}
