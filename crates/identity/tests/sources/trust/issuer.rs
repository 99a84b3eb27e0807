//! An issuer of the test's own: it speaks the protocol of trust states, or only that of bundles, and says what it is told
//! to, right or wrong. What workloads send it is kept.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use avouch_api::issuer::v1 as api;
use avouch_api::issuer::v1::issuer_server::{Issuer, IssuerServer};
use avouch_identity::spiffe::x509::sha256;
use avouch_identity::spiffe::{Generation, JoinToken, Revocation, RevocationKey, Revocations};
use avouch_identity::{
    Identity, IdentityConfig, IdentityError, IdentityEvent, IdentityFilter, IdentityObserver, IssuerConfig,
    Server, Snapshot,
};
use avouch_testkit::loopback;
use avouch_testkit::wait::{until, within};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::support::{Ca, DOMAIN, domain, id, leaf_params, now, year};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn at(epoch: u32, counter: u32) -> Generation {
    Generation { epoch, counter }
}

fn wire(generation: Generation) -> Option<api::Generation> {
    Some(api::Generation { epoch: generation.epoch, counter: generation.counter })
}

/// The revocation of an identity, for an hour from the first one: the same each time, so that states made of it agree.
pub(super) fn revoked(path: &str, since: Generation) -> Revocation {
    static END: LazyLock<SystemTime> = LazyLock::new(|| now() + HOUR);
    Revocation { key: RevocationKey::identity(&id(path)), since, ends_at: *END, proof: [9; 16] }
}

/// Whole seconds, as on the wire.
fn rounded(revocation: Revocation) -> Revocation {
    Revocation::decode(&revocation.encode()).expect("a time")
}

/// What the issuer publishes.
#[derive(Clone)]
pub(super) struct State {
    pub(super) generation: Generation,
    pub(super) known: Generation,
    pub(super) revocations: Vec<Revocation>,
}

impl State {
    fn set(&self) -> Revocations {
        Revocations::new(self.revocations.iter().copied().map(rounded)).expect("few")
    }

    pub(super) fn whole(&self, ca: &Ca) -> api::TrustUpdate {
        api::TrustUpdate {
            generation: wire(self.generation),
            bundles: bundle(ca, 1).into_iter().collect(),
            revoked: self.set().encode(),
            digest: self.set().digest().to_vec(),
            known: wire(self.known),
            ..api::TrustUpdate::default()
        }
    }

    pub(super) fn delta(&self, base: &Self) -> api::TrustUpdate {
        let (revoked, restored) = self.set().diff(&base.set()).encode();
        api::TrustUpdate {
            generation: wire(self.generation),
            base: wire(base.generation),
            revoked,
            restored,
            digest: self.set().digest().to_vec(),
            ..api::TrustUpdate::default()
        }
    }
}

fn bundle(ca: &Ca, sequence: u64) -> Option<api::TrustBundle> {
    let x509_authorities = vec![ca.root.to_vec()];
    Some(api::TrustBundle { trust_domain: DOMAIN.to_owned(), x509_authorities, sequence })
}

type Messages = mpsc::UnboundedSender<Result<api::WatchTrustResponse, Status>>;

/// What the fake has heard and says.
#[derive(Default)]
struct Talk {
    heard: Vec<api::WatchTrustRequest>,
    held: Vec<(&'static str, Option<api::Generation>)>,
    streams: Vec<Messages>,
    /// What goes with the next SVIDs.
    with_svid: Bytes,
}

#[derive(Clone)]
struct Fake {
    ca: Arc<Ca>,
    life: Duration,
    talk: Arc<Mutex<Talk>>,
}

impl Fake {
    fn answer(
        &self,
        how: &'static str,
        csr: &[u8],
        held: Option<api::Generation>,
    ) -> Option<api::IssuedSvid> {
        let mut talk = self.talk.lock().expect("not poisoned");
        talk.held.push((how, held));
        let params = leaf_params(id("/orders").as_str(), now() - Duration::from_secs(60)..now() + self.life);
        let chain = self.ca.answer(csr, params);
        Some(api::IssuedSvid {
            chain,
            bundle: bundle(&self.ca, 1),
            trust: talk.with_svid.clone(),
            ..api::IssuedSvid::default()
        })
    }
}

#[tonic::async_trait]
impl Issuer for Fake {
    type WatchTrustStream = Pin<Box<dyn Stream<Item = Result<api::WatchTrustResponse, Status>> + Send>>;

    async fn enroll(&self, of: Request<api::EnrollRequest>) -> Result<Response<api::EnrollResponse>, Status> {
        let of = of.into_inner();
        Ok(Response::new(api::EnrollResponse { svid: self.answer("enroll", &of.csr, of.held) }))
    }

    async fn renew(&self, of: Request<api::RenewRequest>) -> Result<Response<api::RenewResponse>, Status> {
        let of = of.into_inner();
        Ok(Response::new(api::RenewResponse { svid: self.answer("renew", &of.csr, of.held) }))
    }

    async fn begin_recovery(
        &self,
        _: Request<api::BeginRecoveryRequest>,
    ) -> Result<Response<api::BeginRecoveryResponse>, Status> {
        Ok(Response::new(api::BeginRecoveryResponse { nonce: vec![7; 32] }))
    }

    async fn recover(
        &self,
        of: Request<api::RecoverRequest>,
    ) -> Result<Response<api::RecoverResponse>, Status> {
        let of = of.into_inner();
        Ok(Response::new(api::RecoverResponse { svid: self.answer("recover", &of.csr, of.held) }))
    }

    async fn watch_trust(
        &self,
        request: Request<tonic::Streaming<api::WatchTrustRequest>>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let (messages, stream) = mpsc::unbounded_channel();
        self.talk.lock().expect("not poisoned").streams.push(messages);
        let (talk, mut heard) = (self.talk.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(Ok(message)) = heard.next().await {
                talk.lock().expect("not poisoned").heard.push(message);
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }
}

/// What is told of the trust state.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<String>>);

impl IdentityObserver for Told {
    fn event(&self, event: &IdentityEvent) {
        if let IdentityEvent::TrustState { problem: Some(problem), .. } = event {
            self.0.lock().expect("not poisoned").push(problem.clone());
        }
    }
}

/// A workload's files, and its issuer.
pub(super) struct World {
    pub(super) ca: Arc<Ca>,
    dir: tempfile::TempDir,
    address: SocketAddr,
    fake: Fake,
    server: Option<loopback::Running>,
    pub(super) told: Arc<Told>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_lives_of(HOUR).await
    }

    /// A world whose certificates live this long.
    pub(super) async fn with_lives_of(life: Duration) -> Self {
        let ca = Arc::new(Ca::new());
        let fake = Fake { ca: ca.clone(), life, talk: Arc::default() };
        let (mut chain, key) = ca.sign(&leaf_params(id("/avouch/issuer").as_str(), year()));
        chain.push(ca.root.clone());
        let svid = avouch_identity::Svid::new(chain, &key).expect("an SVID");
        let (publisher, identity) = Identity::publisher(Snapshot::new(svid, ca.bundles()));
        // The identity lives as long as its publisher.
        std::mem::forget(publisher);
        let server = Server::new(identity, IdentityFilter::trust_domain(domain()))
            .optional_client_certificate()
            .channel_binding(avouch_identity::RECOVERY_BINDING);
        let routes = tonic::service::Routes::new(IssuerServer::new(fake.clone())).prepare();
        let server = loopback::serve(server, routes).await;
        let dir = tempfile::tempdir().expect("a directory");
        let pins = vec![sha256(&ca.root)];
        let token = JoinToken::new("a-secret-of-these-tests-alone-0123456789", id("/avouch/issuer"), pins);
        std::fs::write(dir.path().join("token"), token.expect("a token").encode()).expect("written");
        Self { ca, dir, address: server.address, fake, server: Some(server), told: Arc::default() }
    }

    pub(super) async fn workload(&self) -> Result<Identity, IdentityError> {
        self.workload_of("workload").await
    }

    /// A workload with a state directory of this name.
    pub(super) async fn workload_of(&self, name: &str) -> Result<Identity, IdentityError> {
        let config = IdentityConfig::Issuer(IssuerConfig {
            address: self.address.to_string(),
            join_token_file: Some(self.dir.path().join("token")),
            state_dir: Some(self.dir.path().join(name)),
            addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        });
        within(Identity::starter(config).observer(self.told.clone()).start()).await
    }

    pub(super) fn state_file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("workload").join(name)
    }

    /// The directory can be used again only after the tasks of a dropped identity have let go of it.
    pub(super) async fn released(&self) {
        let lock = self.state_file("lock");
        let free = || std::fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        until("the state directory is free", free).await;
    }

    pub(super) async fn stop_issuer(&mut self) {
        self.fake.talk.lock().expect("not poisoned").streams.clear();
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Sends an update on the latest stream.
    pub(super) async fn send(&self, update: &api::TrustUpdate) {
        let trust = update.encode_to_vec().into();
        self.say(api::WatchTrustResponse { trust, ..api::WatchTrustResponse::default() }).await;
    }

    /// Sends a bundle, as an issuer does that knows no trust states.
    pub(super) async fn send_bundle(&self, sequence: u64) {
        let bundle = bundle(&self.ca, sequence);
        self.say(api::WatchTrustResponse { bundle, ..api::WatchTrustResponse::default() }).await;
    }

    async fn say(&self, message: api::WatchTrustResponse) {
        until("the message is sent", || {
            let talk = self.fake.talk.lock().expect("not poisoned");
            talk.streams.last().is_some_and(|stream| stream.send(Ok(message.clone())).is_ok())
        })
        .await;
    }

    pub(super) fn goes_with_svids(&self, update: &api::TrustUpdate) {
        self.fake.talk.lock().expect("not poisoned").with_svid = update.encode_to_vec().into();
    }

    /// Everything that workloads have said on their streams.
    pub(super) fn heard(&self) -> Vec<api::WatchTrustRequest> {
        self.fake.talk.lock().expect("not poisoned").heard.clone()
    }

    /// Which generations requests for SVIDs said to be held, and what they were for.
    pub(super) fn held(&self) -> Vec<(&'static str, Generation)> {
        let talk = self.fake.talk.lock().expect("not poisoned");
        let held = |(how, held): &(&'static str, Option<api::Generation>)| {
            let held = held.expect("every request says what is held");
            (*how, at(held.epoch, held.counter))
        };
        talk.held.iter().map(held).collect()
    }

    /// Waits until a workload acknowledges this generation, as the last thing it says.
    pub(super) async fn acknowledged(&self, generation: Generation) {
        until(&format!("the acknowledgement of {generation}"), || {
            self.last_acknowledged() == Some(generation)
        })
        .await;
    }

    pub(super) fn last_acknowledged(&self) -> Option<Generation> {
        let last = self.heard().last()?.acknowledged?;
        Some(at(last.epoch, last.counter))
    }

    /// Waits until a problem of the trust state is told that has these words.
    pub(super) async fn told(&self, words: &str) {
        let told = || self.told.0.lock().expect("not poisoned").iter().any(|problem| problem.contains(words));
        until(words, told).await;
    }
}

/// The generation and the number of revocations that an identity uses.
pub(super) fn in_use(identity: &Identity) -> (Generation, usize) {
    let snapshot = identity.snapshot();
    (snapshot.trust.state().generation, snapshot.trust.state().revocations.len())
}

/// Whether the identity refuses a certificate of this one.
pub(super) fn refuses(identity: &Identity, ca: &Ca, path: &str) -> bool {
    let svid = ca.svid(&id(path), HOUR);
    let verified = identity.snapshot().trust.verify(svid.chain(), None, now());
    match verified {
        Ok(_) => false,
        Err(rejection) => {
            assert_eq!(rejection.reason(), avouch_identity::spiffe::Reason::IdentityRevoked, "{rejection}");
            true
        }
    }
}
