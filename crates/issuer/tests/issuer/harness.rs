//! An issuer in this process, over real TLS on loopback, with a clock that tests set; its administrator over the real
//! socket; and a client that can misbehave.

use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::admin::v1::{CreateEntryRequest, CreateTokenRequest, Entry};
use avouch_api::issuer::v1::enroll_request::Evidence;
use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{BeginRecoveryRequest, EnrollRequest, IssuedSvid, RecoverRequest, RenewRequest};
use avouch_attacker::forge::Credentials;
use avouch_attacker::tls::Approach;
use avouch_files::PrivateDirError;
use avouch_identity::recovery_message;
use avouch_issuer::config::{IssuerConfig, RateLimitSettings};
use avouch_issuer::{Issuer, StartError};
use avouch_spiffe::x509::Leaf;
use avouch_spiffe::{JoinToken, Reason};
use avouch_time::clock::{Clock, ManualClock, SharedClock, SystemClock};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) const ORDERS: &str = "spiffe://market.example/orders";

pub(crate) use avouch_testkit::wait::eventually;

/// An issuer's place, and the issuer while it runs.
pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) config: IssuerConfig,
    pub(crate) clock: ManualClock,
    shared_clock: SharedClock,
    pub(crate) address: SocketAddr,
    host: Host,
    running: Option<Running>,
}

/// What a process makes of its issuer.
type Host = Box<dyn Fn(Issuer) -> Issuer + Send + Sync>;

struct Running {
    issuer: Issuer,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration than the default.
    pub(crate) async fn with(configure: impl FnOnce(&mut IssuerConfig)) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let shared = clock.shared();
        Self::with_clock(configure, clock, shared, Box::new(|issuer| issuer)).await
    }

    /// In a process that makes this of the issuer.
    pub(crate) async fn hosted(host: impl Fn(Issuer) -> Issuer + Send + Sync + 'static) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let shared = clock.shared();
        Self::with_clock(|_| {}, clock, shared, Box::new(host)).await
    }

    /// With the clock of the system, for tests of what happens by itself.
    pub(crate) async fn in_real_time(configure: impl FnOnce(&mut IssuerConfig)) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        Self::with_clock(configure, clock, Arc::new(SystemClock), Box::new(|issuer| issuer)).await
    }

    async fn with_clock(
        configure: impl FnOnce(&mut IssuerConfig),
        clock: ManualClock,
        shared_clock: SharedClock,
        host: Host,
    ) -> Self {
        let temp = tempfile::Builder::new().prefix("avi").tempdir().unwrap();
        let mut config = IssuerConfig {
            trust_domain: "market.example".parse().unwrap(),
            data_dir: temp.path().join("data"),
            admin_socket: temp.path().join("run/admin.sock"),
            profiles: None,
            svid_ttl: Some(Duration::from_secs(20)),
            recovery_window: Duration::from_secs(3_600),
            retention: Duration::from_secs(30 * 86_400),
            rate_limits: RateLimitSettings::default(),
        };
        configure(&mut config);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut world = Self { temp, config, clock, shared_clock, address, host, running: None };
        world.start().await;
        world
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.running.as_ref().unwrap().issuer
    }

    /// Starts it, at the same address as before.
    pub(crate) async fn start(&mut self) {
        let issuer = loop {
            match Issuer::start(&self.config, Arc::clone(&self.shared_clock)).await {
                Ok(issuer) => break issuer,
                // The one before is still on its way out.
                Err(StartError::DataDir(PrivateDirError::InUse { .. })) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{}", avouch_text::with_causes(&error)),
            }
        };
        let issuer = (self.host)(issuer);
        // While nobody listened, a connection of somebody else may have been given the port.
        let listener =
            eventually("listening at the same address", async || TcpListener::bind(self.address).await.ok())
                .await;
        self.address = listener.local_addr().unwrap();
        let admin = issuer.bind_admin().await.unwrap();
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn({
                let (issuer, stop) = (issuer.clone(), stop.clone());
                async move {
                    issuer.serve_workloads(listener, stop).await.unwrap();
                }
            }),
            tokio::spawn({
                let (issuer, stop) = (issuer.clone(), stop.clone());
                async move {
                    issuer.serve_admin(admin, stop.cancelled_owned()).await.unwrap();
                }
            }),
        ];
        self.running = Some(Running { issuer, stop, tasks });
    }

    /// Stops it, as SIGTERM would.
    pub(crate) async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.cancel();
        for task in running.tasks {
            let _ = tokio::time::timeout(Duration::from_secs(5), task).await.expect("it drains");
        }
    }

    /// Sets the clock forward, and waits until the issuer has renewed what that made stale.
    pub(crate) async fn until(&self, now: SystemTime) {
        self.clock.set(now);
        eventually("the renewal of the issuer's own certificate", async || {
            (self.issuer().identity().snapshot().svid.not_after() > now).then_some(())
        })
        .await;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        admin(&self.config.admin_socket).await
    }

    /// Registers an identity.
    pub(crate) async fn entry(&self, id: &str) {
        let entry = Entry { spiffe_id: id.to_owned(), ..Entry::default() };
        self.admin().await.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
    }

    /// Makes a join token.
    pub(crate) async fn token(&self, id: &str) -> JoinToken {
        token(&mut self.admin().await, id).await
    }

    /// An entry and a token.
    pub(crate) async fn invited(&self, id: &str) -> JoinToken {
        self.entry(id).await;
        self.token(id).await
    }

    /// A connection, with or without a certificate.
    pub(crate) async fn connect(&self, held: Option<&Held>) -> Raw {
        connect(self.address, held).await
    }

    /// Enrolls with a new key.
    pub(crate) async fn enroll(&self, token: &JoinToken) -> Result<Held, Status> {
        self.enroll_with(token, KeyPair::generate().unwrap()).await
    }

    pub(crate) async fn enroll_with(&self, token: &JoinToken, key: KeyPair) -> Result<Held, Status> {
        let csr = csr(&key, &[]);
        let svid = self.connect(None).await.enroll(token.secret(), csr).await?;
        Ok(Held { key, chain: svid.chain })
    }

    /// Profiles that allow SVIDs of five seconds, and a signing authority of this life.
    pub(crate) fn quick_profiles(directory: &Path, signing_life: &str) {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../certs");
        std::fs::create_dir_all(directory).unwrap();
        for name in ["root.toml", "signing-authority.toml", "svid.toml"] {
            let text = std::fs::read_to_string(built_in.join(name)).unwrap();
            let text = text
                .replace("min_lifetime = \"10s\"", "min_lifetime = \"5s\"")
                .replace("lifetime = \"90d\"", &format!("lifetime = {signing_life:?}"));
            std::fs::write(directory.join(name), text).unwrap();
        }
    }
}

pub(crate) async fn admin(socket: &Path) -> AdminClient<Channel> {
    AdminClient::new(admin_channel(socket).await)
}

pub(crate) async fn admin_channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

pub(crate) async fn token(admin: &mut AdminClient<Channel>, id: &str) -> JoinToken {
    token_text(admin, id).await.parse().unwrap()
}

/// Makes a join token, as the administrator sees it.
pub(crate) async fn token_text(admin: &mut AdminClient<Channel>, id: &str) -> String {
    let request = CreateTokenRequest { spiffe_id: id.to_owned(), ttl: None };
    admin.create_token(request).await.unwrap().into_inner().token
}

/// A key and the certificates issued for it.
pub(crate) struct Held {
    pub(crate) key: KeyPair,
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Held {
    pub(crate) fn leaf(&self) -> Leaf {
        Leaf::parse(&self.chain[0]).unwrap()
    }

    pub(crate) fn serial(&self) -> String {
        self.leaf().serial().to_owned()
    }
}

/// A request for a certificate, naming these URIs.
pub(crate) fn csr(key: &KeyPair, uris: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        uris.iter().map(|uri| rcgen::SanType::URI((*uri).to_owned().try_into().unwrap())).collect();
    params.serialize_request(key).unwrap().der().to_vec()
}

/// What a refusal says.
pub(crate) fn reason<T>(outcome: Result<T, Status>) -> Option<Reason> {
    avouch_identity::reason(&outcome.err()?)
}

/// One TLS connection, in the hands of a client that knows what it does.
pub(crate) struct Raw {
    pub(crate) client: IssuerClient<Channel>,
    channel: Channel,
    pub(crate) exporter: [u8; 32],
    pub(crate) server_chain: Vec<Vec<u8>>,
}

impl Raw {
    /// For another client than the issuer's.
    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }

    pub(crate) async fn enroll(&mut self, secret: &str, csr: Vec<u8>) -> Result<IssuedSvid, Status> {
        let evidence = Some(Evidence::JoinToken(secret.to_owned()));
        let response = self.client.enroll(EnrollRequest { evidence, csr, held: None }).await?;
        Ok(response.into_inner().svid.unwrap())
    }

    pub(crate) async fn renew(&mut self, csr: Vec<u8>) -> Result<IssuedSvid, Status> {
        Ok(self.client.renew(RenewRequest { csr, held: None }).await?.into_inner().svid.unwrap())
    }

    pub(crate) async fn nonce(&mut self) -> Result<Vec<u8>, Status> {
        Ok(self.client.begin_recovery(BeginRecoveryRequest {}).await?.into_inner().nonce)
    }

    /// What an honest workload would send with this nonce on this connection, signed by `signer`.
    pub(crate) fn recovery(&self, held: &Held, signer: &KeyPair, nonce: Vec<u8>) -> RecoverRequest {
        let csr = csr(&KeyPair::generate().unwrap(), &[]);
        let proof = signer.sign(&recovery_message(&self.exporter, &nonce, &csr)).unwrap();
        RecoverRequest { expired_chain: held.chain.clone(), nonce, proof, csr, held: None }
    }

    pub(crate) async fn recover(&mut self, request: RecoverRequest) -> Result<IssuedSvid, Status> {
        Ok(self.client.recover(request).await?.into_inner().svid.unwrap())
    }

    /// The whole recovery, honestly.
    pub(crate) async fn recover_honestly(&mut self, held: &Held) -> Result<IssuedSvid, Status> {
        let nonce = self.nonce().await?;
        let request = self.recovery(held, &held.key, nonce);
        self.recover(request).await
    }
}

/// Connects and believes whatever the server shows.
pub(crate) async fn connect(address: SocketAddr, held: Option<&Held>) -> Raw {
    try_connect(address, held).await.unwrap()
}

pub(crate) async fn try_connect(
    address: SocketAddr,
    held: Option<&Held>,
) -> Result<Raw, tonic::transport::Error> {
    let facts = Arc::new(std::sync::Mutex::new(None));
    let noted = Arc::clone(&facts);
    let config = tls_config(held);
    let connector = tower::service_fn(move |_| {
        let (noted, config) = (Arc::clone(&noted), config.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("issuer.invalid").unwrap();
            let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
            let session = tls.get_ref().1;
            let label = avouch_identity::RECOVERY_BINDING.as_bytes();
            let exporter = session.export_keying_material([0; 32], label, None).unwrap();
            let chain = session.peer_certificates().unwrap().iter().map(|der| der.to_vec()).collect();
            *noted.lock().unwrap() = Some((exporter, chain));
            Ok::<_, std::io::Error>(TokioIo::new(tls))
        }
    });
    let endpoint = Endpoint::from_static("http://issuer.invalid").timeout(Duration::from_secs(10));
    let channel = endpoint.connect_with_connector(connector).await?;
    let (exporter, server_chain) = facts.lock().unwrap().take().unwrap();
    Ok(Raw { client: IssuerClient::new(channel.clone()), channel, exporter, server_chain })
}

fn tls_config(held: Option<&Held>) -> Arc<ClientConfig> {
    let credentials = held.map(|held| Credentials {
        chain: held.chain.iter().map(|der| CertificateDer::from(der.clone())).collect(),
        key: PrivateKeyDer::try_from(held.key.serialize_der()).unwrap(),
    });
    avouch_attacker::tls::config(Approach::showing(credentials.as_ref())).unwrap()
}
