//! A trust domain in a temporary directory: an issuer that can be stopped and started, and a workload's files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::admin::v1::{CreateEntryRequest, CreateTokenRequest, DeleteEntryRequest, Entry};
use avouch_files::PrivateDirError;
use avouch_identity::spiffe::SpiffeId;
use avouch_identity::spiffe::clock::ManualClock;
use avouch_identity::{
    Identity, IdentityConfig, IdentityError, IdentityEvent, IdentityObserver, IdentityStarter, IssuerConfig,
    Svid,
};
use avouch_issuer::{Issuer, StartError};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

pub(crate) const DOMAIN: &str = "market.example";
/// Short, so that tests see renewals; the clock that judges it stands still.
const TTL: Duration = Duration::from_secs(10);

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}{path}").parse().expect("a SPIFFE ID")
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: ManualClock,
    address: SocketAddr,
    running: Option<Running>,
    events: Arc<Events>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Events(Mutex<Vec<String>>);

impl IdentityObserver for Events {
    fn event(&self, event: &IdentityEvent) {
        if let IdentityEvent::Failed { error, .. } = event {
            self.0.lock().expect("not poisoned").push(error.clone());
        }
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        #[allow(clippy::disallowed_methods, reason = "the test's time starts now")]
        let clock = ManualClock::new(SystemTime::now());
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = free.local_addr().expect("an address");
        let mut world = Self { dir, clock, address, running: None, events: Arc::default() };
        world.run(free).await;
        world
    }

    /// A world in which `/orders` is registered and has a token.
    pub(crate) async fn with_a_token() -> Self {
        let world = Self::start().await;
        world.register("/orders").await;
        world.write_token("/orders").await;
        world
    }

    pub(crate) fn now(&self) -> SystemTime {
        use avouch_identity::spiffe::clock::Clock as _;
        self.clock.now()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run").join("admin.sock")
    }

    async fn run(&mut self, listener: TcpListener) {
        let settings = format!(
            "trust_domain = \"{DOMAIN}\"\ndata_dir = {:?}\nadmin_socket = {:?}\nsvid_ttl = \"{}s\"\n",
            self.dir.path().join("issuer"),
            self.socket(),
            TTL.as_secs()
        );
        let settings: avouch_issuer::config::IssuerSettings = toml::from_str(&settings).expect("settings");
        let config = avouch_issuer::config::IssuerConfig::try_from(settings).expect("a configuration");
        let issuer = self.started(&config).await;
        let admin = issuer.bind_admin().await.expect("the administration socket");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let administering = issuer.serve_admin(admin, stopped.clone().cancelled_owned());
            let serving = issuer.serve_workloads(listener, stopped);
            let (served, administered) = tokio::join!(serving, administering);
            served.expect("serving");
            administered.expect("administering");
        });
        self.running = Some(Running { stop, task });
    }

    /// Starts an issuer once the last one has let go of its data.
    async fn started(&self, config: &avouch_issuer::config::IssuerConfig) -> Issuer {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            match Issuer::start(config, self.clock.shared()).await {
                Ok(issuer) => return issuer,
                Err(StartError::DataDir(PrivateDirError::InUse { .. })) => {
                    assert!(tokio::time::Instant::now() < deadline, "the data directory stays in use");
                }
                Err(error) => panic!("{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop_issuer(&mut self) {
        let running = self.running.take().expect("a running issuer");
        running.stop.cancel();
        running.task.await.expect("the issuer's task");
    }

    pub(crate) async fn start_issuer(&mut self) {
        // While nobody listened, a connection of somebody else may have been given the port.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.run(listener).await;
    }

    /// Lets time pass with everything switched off.
    pub(crate) async fn sleep_and_wake(&mut self, time: Duration) {
        self.stop_issuer().await;
        self.clock.advance(time);
        self.start_issuer().await;
    }

    async fn admin(&self) -> AdminClient<Channel> {
        let socket = self.socket();
        let connect = tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://issuer");
        AdminClient::new(endpoint.connect_with_connector(connect).await.expect("the issuer's socket"))
    }

    pub(crate) async fn register(&self, path: &str) {
        let entry = Entry { spiffe_id: id(path).to_string(), ..Entry::default() };
        self.admin().await.create_entry(CreateEntryRequest { entry: Some(entry) }).await.expect("an entry");
    }

    pub(crate) async fn delete(&self, path: &str) {
        let request = DeleteEntryRequest { spiffe_id: id(path).to_string() };
        self.admin().await.delete_entry(request).await.expect("deleted");
    }

    pub(crate) async fn token(&self, path: &str) -> String {
        let request = CreateTokenRequest { spiffe_id: id(path).to_string(), ttl: None };
        self.admin().await.create_token(request).await.expect("a token").into_inner().token
    }

    pub(crate) async fn write_token(&self, path: &str) {
        let token = self.token(path).await;
        self.put_token(&token);
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    pub(crate) fn put_token(&self, token: &str) {
        std::fs::write(self.token_file(), token).expect("written");
    }

    pub(crate) fn remove_token(&self) {
        std::fs::remove_file(self.token_file()).expect("removed");
    }

    fn config(&self, token: bool) -> IdentityConfig {
        IdentityConfig::Issuer(IssuerConfig {
            address: self.address.to_string(),
            join_token_file: token.then(|| self.token_file()),
            state_dir: Some(self.dir.path().join("workload")),
            addresses: Vec::new(),
            timeout_ms: 2_000,
        })
    }

    fn starter(&self, token: bool) -> IdentityStarter {
        Identity::starter(self.config(token)).clock(self.clock.shared()).observer(self.events.clone())
    }

    pub(crate) fn workload(&self) -> IdentityStarter {
        self.starter(true)
    }

    pub(crate) fn workload_without_token(&self) -> IdentityStarter {
        self.starter(false)
    }

    /// Starts the workload once its last run has let go of the state directory.
    pub(crate) async fn start_again(&self) -> Result<Identity, IdentityError> {
        self.released().await;
        self.workload().start().await
    }

    pub(crate) async fn start_again_without_token(&self) -> Result<Identity, IdentityError> {
        self.released().await;
        self.workload_without_token().start().await
    }

    /// The task of a dropped identity ends at its next await; its lock goes with it.
    async fn released(&self) {
        let lock = self.state_file("lock");
        self.wait_for(|_| std::fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_ok())).await;
    }

    pub(crate) fn state_file(&self, name: &str) -> PathBuf {
        self.dir.path().join("workload").join(name)
    }

    /// Leaves what a crash leaves between the issuer's answer and the workload's disk.
    pub(crate) async fn forget_svid_keep_key(&self) {
        self.released().await;
        let svid = std::fs::read_to_string(self.state_file("svid.pem")).expect("an SVID");
        let end = "-----END PRIVATE KEY-----\n";
        let key = svid.split_once(end).map(|(key, _)| format!("{key}{end}")).expect("a key");
        // In the file of the SVID, which is its owner's alone as the key's own file was.
        std::fs::write(self.state_file("svid.pem"), key).expect("written");
        std::fs::rename(self.state_file("svid.pem"), self.state_file("pending-key.pem")).expect("renamed");
    }

    pub(crate) async fn forget_everything(&self) {
        self.released().await;
        std::fs::remove_dir_all(self.dir.path().join("workload")).expect("removed");
    }

    pub(crate) async fn spoil(&self, name: &str) {
        self.released().await;
        std::fs::write(self.state_file(name), "spoiled").expect("written");
    }

    pub(crate) fn failures(&self) -> usize {
        self.events.0.lock().expect("not poisoned").len()
    }

    pub(crate) fn last_failure(&self) -> String {
        self.events.0.lock().expect("not poisoned").last().cloned().unwrap_or_default()
    }

    pub(crate) async fn wait_for(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "the condition never held");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for another SVID than the one with `serial`.
    pub(crate) async fn renewed(&self, identity: &Identity, serial: &str) -> Arc<Svid> {
        let mut states = identity.subscribe();
        let changed = states.wait_for(|state| state.svid.leaf().serial() != serial);
        let state = tokio::time::timeout(Duration::from_secs(20), changed).await;
        state.expect("a renewal in time").expect("a live source").svid.clone()
    }
}
