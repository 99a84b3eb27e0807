//! A root and a signing authority of a test's own, for the trust domain [`DOMAIN`].

use std::ops::Range;
use std::time::{Duration, SystemTime};

use avouch_identity::{Identity, Publisher, Snapshot, Svid};
use avouch_spiffe::x509::Leaf;
use avouch_spiffe::{Bundle, BundleSet, PeerIdentity, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The name of the trust domain.
pub const DOMAIN: &str = "market.example";

const HOUR: Duration = Duration::from_secs(3600);

/// The trust domain.
#[must_use]
pub fn domain() -> TrustDomain {
    DOMAIN.parse().expect("a trust domain")
}

/// The SPIFFE ID with this path, which begins with `/`.
#[must_use]
pub fn id(path: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}{path}").parse().expect("a SPIFFE ID")
}

/// The wall clock's time, which the validity of certificates is counted from.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "verifiers read the system's clock unless a test gives them another"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A validity period from an hour ago, for a year.
#[must_use]
pub fn year() -> Range<SystemTime> {
    now() - HOUR..now() + 365 * 24 * HOUR
}

/// Parameters of a certificate with this common name, if it is not empty, and a serial number of its own.
#[must_use]
pub fn params(common_name: &str, validity: Range<SystemTime>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params.not_before = validity.start.into();
    params.not_after = validity.end.into();
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("randomness");
    // Positive, and never shorter in DER than another one.
    serial[0] = 1;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params
}

/// Parameters of a CA certificate.
#[must_use]
pub fn ca_params(common_name: &str, validity: Range<SystemTime>) -> CertificateParams {
    let mut params = params(common_name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters of an X.509-SVID with this URI.
#[must_use]
pub fn leaf_params(uri: &str, validity: Range<SystemTime>) -> CertificateParams {
    let mut params = params("", validity);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
    params
}

/// The identity of a caller as a handshake would have found it, from a certificate that signs itself: for tests of what
/// comes after the handshake.
#[must_use]
pub fn peer(uri: &str, common_name: &str) -> PeerIdentity {
    let mut params = leaf_params(uri, year());
    params.distinguished_name.push(DnType::CommonName, common_name);
    let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
    PeerIdentity::from_leaf(&Leaf::parse(certificate.der()).expect("an SVID"), certificate.der())
}

/// A root and the signing authority below it.
pub struct Ca {
    /// The root's certificate.
    pub root: CertificateDer<'static>,
    /// The signing authority's certificate, which every chain holds.
    pub intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// A CA whose certificates are valid for a year.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lives(year(), year())
    }

    /// A CA with these validity periods of root and signing authority.
    #[must_use]
    pub fn with_lives(root: Range<SystemTime>, intermediate: Range<SystemTime>) -> Self {
        let root_key = KeyPair::generate().expect("a key");
        let root_params = ca_params("test root", root);
        let root = root_params.self_signed(&root_key).expect("a root");
        let root_issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = ca_params("test authority", intermediate);
        let intermediate = params.signed_by(&key, &root_issuer).expect("an intermediate");
        Self {
            root: root.der().clone(),
            intermediate: intermediate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A chain without the root, and its new key.
    #[must_use]
    pub fn sign(&self, params: &CertificateParams) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        (
            vec![leaf.der().clone(), self.intermediate.clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    }

    /// A chain for the key of a request; what else the request says counts for nothing.
    #[must_use]
    pub fn answer(&self, csr: &[u8], params: CertificateParams) -> Vec<Vec<u8>> {
        let mut request = rcgen::CertificateSigningRequestParams::from_der(&csr.into()).expect("a request");
        request.params = params;
        let leaf = request.signed_by(&self.issuer).expect("a leaf");
        vec![leaf.der().to_vec(), self.intermediate.to_vec()]
    }

    /// An X.509-SVID that is valid from a second ago, for `ttl`.
    #[must_use]
    pub fn svid(&self, id: &SpiffeId, ttl: Duration) -> Svid {
        let (chain, key) = self.sign(&leaf_params(id.as_str(), now() - Duration::from_secs(1)..now() + ttl));
        Svid::new(chain, &key).expect("an SVID")
    }

    /// The bundle of the trust domain.
    #[must_use]
    pub fn bundles(&self) -> BundleSet {
        let mut bundles = BundleSet::new();
        bundles.insert(Bundle::from_ders(domain(), &[self.root.to_vec()], 1).expect("a bundle"));
        bundles
    }

    /// An identity for an hour that trusts this CA, and the publisher that gives it another one.
    #[must_use]
    pub fn identity(&self, path: &str) -> (Publisher, Identity) {
        self.identity_for(path, HOUR)
    }

    /// The same for another time than an hour.
    #[must_use]
    pub fn identity_for(&self, path: &str, ttl: Duration) -> (Publisher, Identity) {
        Identity::publisher(Snapshot::new(self.svid(&id(path), ttl), self.bundles()))
    }
}
