//! An issuer whose answers are wrong, each in one thing: none of them comes into use, and the right one still does.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use avouch_api::issuer::v1 as api;
use avouch_api::issuer::v1::issuer_server::{Issuer, IssuerServer};
use avouch_identity::spiffe::x509::{Leaf, sha256};
use avouch_identity::spiffe::{JoinToken, SpiffeId};
use avouch_identity::{
    Identity, IdentityConfig, IdentityError, IdentityEvent, IdentityFilter, IdentityObserver, IssuerConfig,
    Server, Snapshot,
};
use avouch_time::clock::ManualClock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::support::{Ca, DOMAIN, domain, id, leaf_params, now};

/// How an answer is made of the request.
type Answer = fn(&Ca, &Ca, &[u8], std::ops::Range<SystemTime>) -> api::IssuedSvid;

/// What happened to the identity, in order.
#[derive(Debug)]
struct Events(watch::Sender<Vec<String>>);

impl IdentityObserver for Events {
    fn event(&self, event: &IdentityEvent) {
        let line = match event {
            IdentityEvent::Issued { how, .. } => format!("issued by {how}"),
            IdentityEvent::Failed { how, error } => format!("{how} failed: {error}"),
            _ => "something else".to_owned(),
        };
        self.0.send_modify(|lines| lines.push(line));
    }
}

/// An issuer that gives its answers in turn, and then the right one for ever.
#[derive(Clone)]
struct Fake {
    ca: Arc<Ca>,
    other: Arc<Ca>,
    life: std::ops::Range<SystemTime>,
    answers: Arc<Mutex<Vec<Answer>>>,
    asked: watch::Sender<usize>,
    /// The public key of each request, hashed.
    keys: Arc<Mutex<Vec<[u8; 32]>>>,
}

impl Fake {
    fn answer(&self, csr: &[u8]) -> Option<api::IssuedSvid> {
        let leaf = right(&self.ca, &self.other, csr, self.life.clone()).chain.remove(0);
        let key = sha256(Leaf::parse(&leaf).expect("a leaf").spki_der());
        self.keys.lock().expect("not poisoned").push(key);
        self.asked.send_modify(|asked| *asked += 1);
        let mut answers = self.answers.lock().expect("not poisoned");
        let answer = if answers.is_empty() { right } else { answers.remove(0) };
        Some(answer(&self.ca, &self.other, csr, self.life.clone()))
    }
}

fn bundle(ca: &Ca) -> Option<api::TrustBundle> {
    let x509_authorities = vec![ca.root.to_vec()];
    Some(api::TrustBundle { trust_domain: DOMAIN.to_owned(), x509_authorities, sequence: 1 })
}

fn right(ca: &Ca, _: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let chain = ca.answer(csr, leaf_params(id("/orders").as_str(), life));
    api::IssuedSvid { chain, bundle: bundle(ca), ..api::IssuedSvid::default() }
}

#[tonic::async_trait]
impl Issuer for Fake {
    type WatchTrustStream = Pin<Box<dyn Stream<Item = Result<api::WatchTrustResponse, Status>> + Send>>;

    async fn enroll(
        &self,
        request: Request<api::EnrollRequest>,
    ) -> Result<Response<api::EnrollResponse>, Status> {
        Ok(Response::new(api::EnrollResponse { svid: self.answer(&request.into_inner().csr) }))
    }

    async fn renew(
        &self,
        request: Request<api::RenewRequest>,
    ) -> Result<Response<api::RenewResponse>, Status> {
        Ok(Response::new(api::RenewResponse { svid: self.answer(&request.into_inner().csr) }))
    }

    async fn begin_recovery(
        &self,
        _: Request<api::BeginRecoveryRequest>,
    ) -> Result<Response<api::BeginRecoveryResponse>, Status> {
        Ok(Response::new(api::BeginRecoveryResponse { nonce: vec![7; 32] }))
    }

    async fn recover(
        &self,
        request: Request<api::RecoverRequest>,
    ) -> Result<Response<api::RecoverResponse>, Status> {
        Ok(Response::new(api::RecoverResponse { svid: self.answer(&request.into_inner().csr) }))
    }

    async fn watch_trust(
        &self,
        _: Request<tonic::Streaming<api::WatchTrustRequest>>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }
}

/// A workload's files and its false issuer.
struct World {
    dir: tempfile::TempDir,
    address: std::net::SocketAddr,
    fake: Fake,
    events: Arc<Events>,
    clock: ManualClock,
}

impl World {
    /// Certificates live for two seconds by a clock that stands still, so that renewals come and nothing expires.
    async fn giving(answers: Vec<Answer>) -> Self {
        let start = now();
        let life = start - Duration::from_secs(60)..start + Duration::from_secs(2);
        Self::with(answers, life, ManualClock::new(start)).await
    }

    async fn with(answers: Vec<Answer>, life: std::ops::Range<SystemTime>, clock: ManualClock) -> Self {
        let (ca, other) = (Arc::new(Ca::new()), Arc::new(Ca::new()));
        let answers = Arc::new(Mutex::new(answers));
        let fake =
            Fake { ca: ca.clone(), other, life, answers, asked: watch::Sender::new(0), keys: Arc::default() };
        let params = leaf_params(id("/avouch/issuer").as_str(), crate::support::year());
        let (mut chain, key) = ca.sign(&params);
        chain.push(ca.root.clone());
        let svid = avouch_identity::Svid::new(chain, &key).expect("an SVID");
        let snapshot = Snapshot::new(svid, ca.bundles());
        let (publisher, identity) = Identity::publisher_with_clock(snapshot, clock.shared());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let routes = tonic::service::Routes::new(IssuerServer::new(fake.clone())).prepare();
        let server =
            Server::new(identity, IdentityFilter::trust_domain(domain())).optional_client_certificate();
        tokio::spawn(async move {
            let _publisher = publisher;
            server
                .channel_binding(avouch_identity::RECOVERY_BINDING)
                .serve(listener, routes, std::future::pending())
                .await
        });
        let dir = tempfile::tempdir().expect("a directory");
        let pins = vec![sha256(&ca.root)];
        let token = JoinToken::new("a-secret-of-these-tests-alone-0123456789", id("/avouch/issuer"), pins);
        std::fs::write(dir.path().join("token"), token.expect("a token").encode()).expect("written");
        Self { dir, address, fake, events: Arc::new(Events(watch::Sender::new(Vec::new()))), clock }
    }

    async fn workload(&self) -> Result<Identity, IdentityError> {
        let config = IdentityConfig::Issuer(IssuerConfig {
            address: self.address.to_string(),
            join_token_file: Some(self.dir.path().join("token")),
            state_dir: Some(self.dir.path().join("workload")),
            addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        });
        Identity::starter(config).clock(self.clock.shared()).observer(self.events.clone()).start().await
    }

    /// Whose SVID a restart would find.
    fn on_disk(&self) -> SpiffeId {
        let file = self.dir.path().join("workload/svid.pem");
        let leaf = CertificateDer::from_pem_file(file).expect("a certificate");
        Leaf::parse(&leaf).expect("an SVID").spiffe_id().clone()
    }

    /// Waits until an event begins so, and returns it.
    async fn heard(&self, beginning: &str) -> String {
        let mut lines = self.events.0.subscribe();
        let fits = |lines: &Vec<String>| lines.iter().any(|line| line.starts_with(beginning));
        let lines = tokio::time::timeout(Duration::from_secs(20), lines.wait_for(fits)).await;
        let lines = lines.unwrap_or_else(|_| panic!("no {beginning:?} in {:?}", self.events.0.borrow()));
        let lines = lines.expect("the observer lives");
        lines.iter().find(|line| line.starts_with(beginning)).cloned().unwrap_or_default()
    }
}

fn another_key(ca: &Ca, _: &Ca, _: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let (chain, _) = ca.sign(&leaf_params(id("/orders").as_str(), life));
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    api::IssuedSvid { chain, bundle: bundle(ca), ..api::IssuedSvid::default() }
}

fn another_identity(ca: &Ca, _: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let chain = ca.answer(csr, leaf_params(id("/payments").as_str(), life));
    api::IssuedSvid { chain, bundle: bundle(ca), ..api::IssuedSvid::default() }
}

fn another_domain(ca: &Ca, _: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let chain = ca.answer(csr, leaf_params("spiffe://evil.example/orders", life));
    api::IssuedSvid { chain, bundle: bundle(ca), ..api::IssuedSvid::default() }
}

fn another_domains_bundle(ca: &Ca, o: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let foreign = bundle(ca).map(|it| api::TrustBundle { trust_domain: "evil.example".to_owned(), ..it });
    api::IssuedSvid { bundle: foreign, ..right(ca, o, csr, life) }
}

fn a_bundle_that_does_not_vouch(
    ca: &Ca,
    o: &Ca,
    csr: &[u8],
    life: std::ops::Range<SystemTime>,
) -> api::IssuedSvid {
    api::IssuedSvid { bundle: bundle(o), ..right(ca, o, csr, life) }
}

fn an_empty_bundle(ca: &Ca, o: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let empty = bundle(ca).map(|it| api::TrustBundle { x509_authorities: Vec::new(), ..it });
    api::IssuedSvid { bundle: empty, ..right(ca, o, csr, life) }
}

fn no_bundle(ca: &Ca, o: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    api::IssuedSvid { bundle: None, ..right(ca, o, csr, life) }
}

fn no_intermediate(ca: &Ca, o: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    let mut answer = right(ca, o, csr, life);
    answer.chain.truncate(1);
    answer
}

fn a_certificate_that_may_sign(
    ca: &Ca,
    _: &Ca,
    csr: &[u8],
    life: std::ops::Range<SystemTime>,
) -> api::IssuedSvid {
    let mut params = leaf_params(id("/orders").as_str(), life);
    params.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign);
    api::IssuedSvid { chain: ca.answer(csr, params), bundle: bundle(ca), ..api::IssuedSvid::default() }
}

fn nothing(ca: &Ca, o: &Ca, csr: &[u8], life: std::ops::Range<SystemTime>) -> api::IssuedSvid {
    api::IssuedSvid { chain: Vec::new(), ..right(ca, o, csr, life) }
}

const WRONG: &[(Answer, &str)] = &[
    (another_key, "does not match the certificate"),
    (another_domain, "it is for spiffe://evil.example/orders"),
    (another_domains_bundle, "its bundle is for evil.example"),
    (a_bundle_that_does_not_vouch, "does not vouch for it: CERT_UNTRUSTED"),
    (an_empty_bundle, "does not vouch for it: CERT_UNTRUSTED"),
    (no_bundle, "it carries no bundle"),
    (no_intermediate, "does not vouch for it: CHAIN_INCOMPLETE"),
    (a_certificate_that_may_sign, "may sign certificates"),
    (nothing, "chain is empty"),
];

#[tokio::test]
async fn a_first_answer_that_is_wrong_makes_no_identity_and_says_why() {
    for (answer, words) in WRONG {
        let world = World::giving(vec![*answer]).await;
        let error = world.workload().await.expect_err(words);
        let error = format!("{error:?}: {error}");
        let causes = error.contains(words)
            || matches!(
                *words,
                "does not match the certificate" | "may sign certificates" | "chain is empty"
            ) && ["KeyMismatch", "KeyCertSign", "EmptyChain"]
                .iter()
                .any(|variant| error.contains(variant));
        assert!(causes, "{words}: {error}");
    }
}

#[tokio::test]
async fn a_renewal_whose_answer_is_wrong_leaves_the_identity_in_use_and_the_next_right_one_comes() {
    let other = (another_identity as Answer, "it is for spiffe://market.example/payments");
    let renewals: Vec<_> =
        WRONG.iter().chain(&[other]).map(|wrong| tokio::spawn(renewal_with(*wrong))).collect();
    for renewal in renewals {
        renewal.await.expect("each of them");
    }
}

/// The issuer takes a second key for a sign that the first one's holder is not alone.
#[tokio::test]
async fn a_request_is_repeated_with_the_same_key_and_the_next_one_has_another() {
    let none: Answer = |_, _, _, _| api::IssuedSvid::default();
    let world = World::giving(vec![right, none, none, right, right]).await;
    let _identity = world.workload().await.expect("an identity");
    let mut asked = world.fake.asked.subscribe();
    asked.wait_for(|asked| *asked >= 5).await.expect("the issuer");
    let keys = world.fake.keys.lock().expect("not poisoned").clone();
    assert!(keys[0] != keys[1] && keys[1] == keys[2] && keys[2] == keys[3] && keys[3] != keys[4], "{keys:?}");
}

async fn renewal_with((answer, words): (Answer, &'static str)) {
    let world = World::giving(vec![right, answer]).await;
    let identity = world.workload().await.expect("an identity");
    let first = identity.snapshot();
    let failure = world.heard("renew failed").await;
    assert!(failure.contains(words), "{words}: {failure}");
    assert_eq!(world.on_disk(), id("/orders"), "{words}");
    world.heard("issued by renew").await;
    let mut states = identity.subscribe();
    let renewed = states.wait_for(|state| state.generation > first.generation).await.expect("a live source");
    assert_eq!(renewed.generation, first.generation + 1, "{words}: the wrong answer was published too");
    assert_eq!(renewed.svid.spiffe_id(), &id("/orders"));
}

#[tokio::test]
async fn certificates_that_have_expired_on_arrival_are_not_asked_for_in_circles() {
    // The workload's clock is hours ahead of the issuer's.
    let start = now();
    let life = start - Duration::from_secs(60)..start + Duration::from_secs(60);
    let world = World::with(Vec::new(), life, ManualClock::new(start + Duration::from_secs(7200))).await;
    let identity = world.workload().await.expect("an identity, although it has expired here");
    let began = tokio::time::Instant::now();
    let asked = world.fake.asked.subscribe().wait_for(|asked| *asked >= 4).await.map(|asked| *asked);
    // Two pauses, of half a second and of one, each of which may be half as long.
    assert!(began.elapsed() > Duration::from_millis(700), "{asked:?} in {:?}", began.elapsed());
    let failure = world.heard("recover failed").await;
    assert!(failure.contains("by this machine's clock"), "{failure}");
    drop(identity);
}
