//! The listener under attack: the real accept loop at the time of this crate, echoing what it is sent.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use avouch_identity::spiffe::PeerIdentity;
use avouch_identity::{
    ConnectionObserver, ConnectionRecord, Identity, IdentityFilter, Publisher, RequestBody, Server,
    ServerOptions, Snapshot, Svid,
};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

use crate::world::{self, Key, world};

/// Longer than any handshake takes here, and than the listener lets one take.
const PATIENCE: Duration = Duration::from_secs(30);
const THREAD: &str = "fuzzed-server";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A running listener and the records it writes.
pub(super) struct Harness {
    address: SocketAddr,
    records: Receiver<ConnectionRecord>,
    _publisher: Publisher,
    _runtime: Runtime,
}

/// The listener, started once. Whoever holds it is alone with it.
pub(super) fn harness() -> MutexGuard<'static, Harness> {
    static HARNESS: OnceLock<Mutex<Harness>> = OnceLock::new();
    HARNESS.get_or_init(|| Mutex::new(Harness::start())).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Harness {
    #[expect(clippy::expect_used, reason = "nothing can be tested without a listener")]
    fn start() -> Self {
        count_panics();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(THREAD).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (sink, records) = channel();
        let (publisher, identity) = identity();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let mut options = ServerOptions::default();
        options.handshake_timeout = Duration::from_secs(10);
        let server = Server::new(identity, IdentityFilter::trust_domain(world::domain()))
            .options(options)
            .observer(Arc::new(Records(sink)));
        runtime.spawn(server.serve(listener, Echo, std::future::pending()));
        Self { address, records, _publisher: publisher, _runtime: runtime }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The record of the connection from this address: the only one that was written since the last.
    pub(super) fn record_of(&self, client: SocketAddr) -> ConnectionRecord {
        let record = self.records.recv_timeout(PATIENCE);
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "the server panicked");
        let record = match record {
            Ok(record) => record,
            Err(error) => unreachable_without_record(&error.to_string()),
        };
        assert_eq!(record.peer_addr, client, "a second record of an earlier connection");
        record
    }
}

#[expect(clippy::panic, reason = "a property that does not hold is reported by panicking")]
fn unreachable_without_record(error: &str) -> ! {
    panic!("no record of the connection: {error}")
}

/// A task that panics is dropped without a word: count what it says.
fn count_panics() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(THREAD) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        previous(info);
    }));
}

#[expect(clippy::expect_used, reason = "nothing can be tested without an identity")]
fn identity() -> (Publisher, Identity) {
    let world = world();
    let key = Key::new();
    let chain =
        [world.authority.svid("spiffe://market.example/server", &key.spki), world.authority.der.clone()];
    let key = PrivateKeyDer::Pkcs8(key.pkcs8().to_vec().into());
    let svid = Svid::new(chain.into_iter().map(Into::into).collect(), &key).expect("an SVID");
    Identity::publisher_with_clock(Snapshot::new(svid, world.bundles()), world::clock())
}

#[derive(Debug)]
struct Records(Sender<ConnectionRecord>);

impl ConnectionObserver for Records {
    fn connection(&self, record: &ConnectionRecord) {
        // Without a harness nobody asks.
        let _ = self.0.send(record.clone());
    }
}

/// Sends back what it gets, to callers with an identity.
#[derive(Clone, Copy)]
struct Echo;

impl Service<http::Request<RequestBody>> for Echo {
    type Response = http::Response<RequestBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        assert!(request.extensions().get::<Arc<PeerIdentity>>().is_some(), "a request from nobody");
        ready(Ok(http::Response::new(request.into_body())))
    }
}
