//! A private CA of the tests' own, and a gRPC service to call.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support"
)]

pub mod files;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avouch_identity::spiffe::{Bundle, BundleSet, SpiffeId, TrustDomain};
use avouch_identity::{
    Channel, ConnectionEnd, ConnectionObserver, ConnectionRecord, Drained, Identity, IdentityFilter,
    Publisher, RequestRefused, Server, ServerOptions, Snapshot, Svid,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub const DOMAIN: &str = "market.example";

pub fn id(path: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}{path}").parse().expect("a SPIFFE ID")
}

pub fn domain() -> TrustDomain {
    DOMAIN.parse().expect("a trust domain")
}

#[allow(clippy::disallowed_methods, reason = "test certificates start now")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A root and one intermediate.
pub struct Ca {
    pub root: CertificateDer<'static>,
    pub intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub fn params(subject: &str, life: std::ops::Range<SystemTime>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !subject.is_empty() {
        params.distinguished_name.push(DnType::CommonName, subject);
    }
    params.not_before = life.start.into();
    params.not_after = life.end.into();
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("randomness");
    serial[0] = 1;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params
}

pub fn ca_params(subject: &str, life: std::ops::Range<SystemTime>) -> CertificateParams {
    let mut params = params(subject, life);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub fn leaf_params(uri: &str, life: std::ops::Range<SystemTime>) -> CertificateParams {
    let mut params = params("", life);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
    params
}

pub fn year() -> std::ops::Range<SystemTime> {
    now() - Duration::from_secs(3600)..now() + Duration::from_secs(365 * 24 * 3600)
}

impl Ca {
    pub fn new() -> Self {
        Self::with_lives(year(), year())
    }

    pub fn with_lives(root_life: std::ops::Range<SystemTime>, life: std::ops::Range<SystemTime>) -> Self {
        let root_key = KeyPair::generate().expect("a key");
        let root_params = ca_params("test root", root_life);
        let root = root_params.self_signed(&root_key).expect("a root");
        let root_issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = ca_params("test authority", life);
        let intermediate = params.signed_by(&key, &root_issuer).expect("an intermediate");
        Self {
            root: root.der().clone(),
            intermediate: intermediate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn sign(&self, params: &CertificateParams) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        (
            vec![leaf.der().clone(), self.intermediate.clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    }

    /// A certificate for the key of a request; what else the request says counts for nothing.
    pub fn answer(&self, csr: &[u8], params: CertificateParams) -> Vec<Vec<u8>> {
        let mut request = rcgen::CertificateSigningRequestParams::from_der(&csr.into()).expect("a request");
        request.params = params;
        let leaf = request.signed_by(&self.issuer).expect("a leaf");
        vec![leaf.der().to_vec(), self.intermediate.to_vec()]
    }

    pub fn svid(&self, id: &SpiffeId, ttl: Duration) -> Svid {
        let (chain, key) = self.sign(&leaf_params(id.as_str(), now() - Duration::from_secs(1)..now() + ttl));
        Svid::new(chain, &key).expect("an SVID")
    }

    pub fn bundles(&self) -> BundleSet {
        let mut bundles = BundleSet::new();
        bundles.insert(Bundle::from_ders(domain(), &[self.root.to_vec()], 1).expect("a bundle"));
        bundles
    }

    pub fn identity(&self, path: &str) -> (Publisher, Identity) {
        self.identity_for(path, Duration::from_secs(3600))
    }

    pub fn identity_for(&self, path: &str, ttl: Duration) -> (Publisher, Identity) {
        Identity::publisher(Snapshot::new(self.svid(&id(path), ttl), self.bundles()))
    }
}

/// Collects connection records.
#[derive(Debug, Default)]
pub struct Records(
    Mutex<Vec<ConnectionRecord>>,
    Mutex<Vec<ConnectionEnd>>,
    Mutex<Vec<(u16, Option<String>)>>,
);

impl ConnectionObserver for Records {
    fn connection(&self, record: &ConnectionRecord) {
        self.0.lock().expect("not poisoned").push(record.clone());
    }

    fn ended(&self, end: &ConnectionEnd) {
        self.1.lock().expect("not poisoned").push(end.clone());
    }

    fn request_refused(&self, refused: &RequestRefused<'_>) {
        let peer = refused.peer_id.map(ToString::to_string);
        self.2.lock().expect("not poisoned").push((refused.status, peer));
    }
}

impl Records {
    pub fn all(&self) -> Vec<ConnectionRecord> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// Connections that were closed for what their peer did.
    pub fn ends(&self) -> Vec<ConnectionEnd> {
        self.1.lock().expect("not poisoned").clone()
    }

    /// Status and caller of each request that was answered before the service saw it.
    pub fn requests_refused(&self) -> Vec<(u16, Option<String>)> {
        self.2.lock().expect("not poisoned").clone()
    }

    /// Waits for the first of them that fits.
    pub async fn wait_end(&self, fits: impl Fn(&ConnectionEnd) -> bool) -> ConnectionEnd {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(end) = self.ends().into_iter().find(|end| fits(end)) {
                return end;
            }
            assert!(tokio::time::Instant::now() < deadline, "no such end in {:?}", self.ends());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for the first record that fits.
    pub async fn wait(&self, fits: impl Fn(&ConnectionRecord) -> bool) -> ConnectionRecord {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(record) = self.all().into_iter().find(|record| fits(record)) {
                return record;
            }
            assert!(tokio::time::Instant::now() < deadline, "no such record in {:?}", self.all());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A running health service.
pub struct Running {
    pub address: SocketAddr,
    pub records: Arc<Records>,
    pub health: tonic_health::server::HealthReporter,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
}

pub async fn serve(identity: Identity, options: ServerOptions) -> Running {
    serve_with(Server::new(identity, IdentityFilter::trust_domain(domain())).options(options)).await
}

pub async fn serve_with(server: Server) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (health, service) = tonic_health::server::health_reporter();
    let routes = tonic::service::Routes::new(service).prepare();
    let records = Arc::new(Records::default());
    let server = server.observer(records.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        server.serve(listener, routes, shutdown).await.expect("serving")
    });
    Running { address, records, health, stop: Some(stop), task }
}

impl Running {
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub async fn stop(mut self) -> Drained {
        drop(self.stop.take());
        self.task.await.expect("the server's task")
    }
}

pub fn channel(identity: &Identity, running: &Running) -> Channel {
    identity.channel(&running.url(), id("/server")).build().expect("a channel")
}

pub async fn check(channel: &Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel.clone()).check(HealthCheckRequest { service: String::new() }).await.map(|_| ())
}
