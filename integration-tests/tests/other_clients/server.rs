//! A server of ours with a policy, and certificates for everybody.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avouch_authz::layer::{AuthzLayer, DecisionObserver, DeniedCall};
use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::{
    ConnectionObserver, ConnectionRecord, Identity, IdentityFilter, Publisher, Server, Snapshot, Svid,
};
use avouch_spiffe::{Bundle, BundleSet};
use avouch_time::clock::{Clock, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::Layer;

use crate::clients::Files;

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    Good,
    Untrusted,
    Expired,
    Foreign,
    NoSvid,
    /// Not even TLS.
    Plaintext,
}

/// A CA.
pub(crate) struct Ca {
    pub(crate) pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificate and key.
pub(crate) struct Made {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(Duration::from_secs(60), Duration::from_secs(3600));
        params.distinguished_name.push(DnType::CommonName, "a root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).unwrap();
        Self { pem: root.pem(), der: root.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn leaf(&self, names: Vec<SanType>, begun: Duration, left: Duration) -> Made {
        let mut params = params(begun, left);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        Made { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

/// Valid since and for; of no life where it has ended before now.
fn params(begun: Duration, left: Duration) -> CertificateParams {
    let now = SystemClock.now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (now - begun).into();
    params.not_after = if left.is_zero() { now - begun / 2 } else { now + left }.into();
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0_u8; 16];
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    serial[1..].copy_from_slice(&nanos.to_be_bytes()[1..]);
    serial[0] = 1;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Reasons on record.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<Vec<String>>);

impl ConnectionObserver for Reasons {
    fn connection(&self, record: &ConnectionRecord) {
        self.0.lock().unwrap().extend(record.reason.map(|reason| reason.to_string()));
    }
}

impl DecisionObserver for Reasons {
    fn denied(&self, refusal: &DeniedCall<'_>, _: &http::Extensions) {
        self.0.lock().unwrap().push(refusal.denial.reason().to_string());
    }
}

/// A server for one attempt.
pub(crate) struct Served {
    pub(crate) port: u16,
    reasons: Arc<Reasons>,
    task: JoinHandle<()>,
    _publisher: Publisher,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    pub(crate) async fn new(files: &Files) -> Self {
        let names =
            vec![uri("spiffe://market.example/server"), SanType::DnsName("localhost".try_into().unwrap())];
        let Made { certificate, key } =
            files.ca.leaf(names, Duration::from_secs(60), Duration::from_secs(3600));
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let svid = Svid::new(vec![certificate.der().clone()], &key).unwrap();
        let mut bundles = BundleSet::new();
        bundles.insert(Bundle::from_ders("market.example".parse().unwrap(), &[&files.ca.der], 1).unwrap());
        let (publisher, identity) = Identity::publisher(Snapshot::new(svid, bundles));
        let reasons = Arc::new(Reasons::default());
        let methods = Methods::new(&[&avouch_api::CONTRACT]).unwrap();
        let policy = PolicyHandle::fixed(Policy::without_roles(&methods));
        let layer = AuthzLayer::new(policy, "market.example".parse().unwrap(), reasons.clone());
        let service = layer.layer(tonic::service::Routes::default());
        let filter = IdentityFilter::trust_domain("market.example".parse().unwrap());
        let server = Server::new(identity, filter).observer(reasons.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            server.serve(listener, service, std::future::pending()).await.unwrap();
        });
        Self { port, reasons, task, _publisher: publisher }
    }

    /// The refusal is on record, for its reason. Clients that try again leave others beside it.
    pub(crate) async fn on_record(&self, reason: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !self.reasons.0.lock().unwrap().iter().any(|recorded| recorded == reason) {
            assert!(tokio::time::Instant::now() < deadline, "{reason} is not on record: {:?}", self.reasons);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
