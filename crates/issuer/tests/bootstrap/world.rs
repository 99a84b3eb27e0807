//! A trust domain in a temporary directory: an issuer that can be stopped and started, and a workload's files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avouch_api::admin::v1::DeleteEntryRequest;
use avouch_identity::spiffe::SpiffeId;
use avouch_identity::{
    Identity, IdentityConfig, IdentityError, IdentityEvent, IdentityObserver, IdentityStarter, IssuerConfig,
    Svid,
};
use avouch_time::clock::ManualClock;

use crate::harness;

pub(crate) const DOMAIN: &str = "market.example";
/// Short, so that tests see renewals; the clock that judges it stands still.
const TTL: Duration = Duration::from_secs(10);

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}{path}").parse().expect("a SPIFFE ID")
}

pub(crate) struct World {
    issuer: harness::World,
    pub(crate) clock: ManualClock,
    events: Arc<Events>,
}

#[derive(Debug, Default)]
struct Events {
    failures: Mutex<Vec<String>>,
    issued: Mutex<Vec<&'static str>>,
}

impl IdentityObserver for Events {
    fn event(&self, event: &IdentityEvent) {
        match event {
            IdentityEvent::Failed { error, .. } => {
                self.failures.lock().expect("not poisoned").push(error.clone());
            }
            IdentityEvent::Issued { how, .. } => self.issued.lock().expect("not poisoned").push(how),
            _ => {}
        }
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let issuer = harness::World::with(|config| config.svid_ttl = Some(TTL)).await;
        let clock = issuer.clock.clone();
        Self { issuer, clock, events: Arc::default() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.issuer.temp.path()
    }

    /// A world in which `/orders` is registered and has a token.
    pub(crate) async fn with_a_token() -> Self {
        let world = Self::start().await;
        world.register("/orders").await;
        world.write_token("/orders").await;
        world
    }

    pub(crate) fn now(&self) -> SystemTime {
        use avouch_time::clock::Clock as _;
        self.clock.now()
    }

    pub(crate) async fn stop_issuer(&mut self) {
        self.issuer.stop().await;
    }

    pub(crate) async fn start_issuer(&mut self) {
        self.issuer.start().await;
    }

    /// Lets time pass with everything switched off.
    pub(crate) async fn sleep_and_wake(&mut self, time: Duration) {
        self.stop_issuer().await;
        self.clock.advance(time);
        self.start_issuer().await;
    }

    pub(crate) async fn register(&self, path: &str) {
        self.issuer.entry(id(path).as_str()).await;
    }

    pub(crate) async fn delete(&self, path: &str) {
        let request = DeleteEntryRequest { spiffe_id: id(path).to_string() };
        self.issuer.admin().await.delete_entry(request).await.expect("deleted");
    }

    pub(crate) async fn token(&self, path: &str) -> String {
        harness::token_text(&mut self.issuer.admin().await, id(path).as_str()).await
    }

    pub(crate) async fn write_token(&self, path: &str) {
        let token = self.token(path).await;
        self.put_token(&token);
    }

    fn token_file(&self) -> PathBuf {
        self.directory().join("token")
    }

    pub(crate) fn put_token(&self, token: &str) {
        std::fs::write(self.token_file(), token).expect("written");
    }

    pub(crate) fn remove_token(&self) {
        std::fs::remove_file(self.token_file()).expect("removed");
    }

    fn config(&self, token: bool) -> IdentityConfig {
        IdentityConfig::Issuer(IssuerConfig {
            address: self.issuer.address.to_string(),
            join_token_file: token.then(|| self.token_file()),
            state_dir: Some(self.directory().join("workload")),
            addresses: Vec::new(),
            timeout: Duration::from_secs(2),
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
        self.directory().join("workload").join(name)
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
        std::fs::remove_dir_all(self.directory().join("workload")).expect("removed");
    }

    pub(crate) async fn spoil(&self, name: &str) {
        self.released().await;
        std::fs::write(self.state_file(name), "spoiled").expect("written");
    }

    pub(crate) fn failures(&self) -> usize {
        self.events.failures.lock().expect("not poisoned").len()
    }

    pub(crate) fn last_failure(&self) -> String {
        self.events.failures.lock().expect("not poisoned").last().cloned().unwrap_or_default()
    }

    /// How each SVID so far was had.
    pub(crate) fn issued(&self) -> Vec<&'static str> {
        self.events.issued.lock().expect("not poisoned").clone()
    }

    pub(crate) async fn wait_for(&self, condition: impl Fn(&Self) -> bool) {
        avouch_testkit::wait::until("the condition", || condition(self)).await;
    }

    /// Waits for another SVID than the one with `serial`.
    pub(crate) async fn renewed(&self, identity: &Identity, serial: &str) -> Arc<Svid> {
        let mut states = identity.subscribe();
        let changed = states.wait_for(|state| state.svid.leaf().serial() != serial);
        let state = tokio::time::timeout(Duration::from_secs(20), changed).await;
        state
            .unwrap_or_else(|_| panic!("no renewal in time: {}", self.last_failure()))
            .expect("a live source")
            .svid
            .clone()
    }
}
