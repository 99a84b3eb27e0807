//! A gRPC service to call, and what it noted of its connections. The CA is testkit's.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support"
)]

pub mod files;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use avouch_identity::{
    CallRefused, Channel, ConnectionClosed, ConnectionEnd, ConnectionObserver, ConnectionRecord, Drained,
    Identity, IdentityFilter, RequestRefused, Server, ServerOptions, Verdict,
};
pub use avouch_testkit::ca::*;
use avouch_testkit::loopback;
use avouch_testkit::wait::eventually;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Collects connection records.
#[derive(Debug, Default)]
pub struct Records(
    Mutex<Vec<ConnectionRecord>>,
    Mutex<Vec<ConnectionEnd>>,
    Mutex<Vec<(u16, Option<String>)>>,
    AtomicUsize,
    Mutex<BTreeMap<String, usize>>,
);

impl ConnectionObserver for Records {
    fn connection(&self, record: &ConnectionRecord) {
        self.0.lock().expect("not poisoned").push(record.clone());
    }

    fn closed(&self, _: &ConnectionClosed) {
        self.3.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, end: &ConnectionEnd) {
        self.1.lock().expect("not poisoned").push(end.clone());
    }

    fn request_refused(&self, refused: &RequestRefused<'_>) {
        let peer = refused.peer_id.map(ToString::to_string);
        self.2.lock().expect("not poisoned").push((refused.status, peer));
    }

    fn call_refused(&self, refused: &CallRefused<'_>) {
        let peer = refused.peer_id.map(ToString::to_string).unwrap_or_default();
        *self.4.lock().expect("not poisoned").entry(peer).or_default() += 1;
    }
}

impl Records {
    pub fn all(&self) -> Vec<ConnectionRecord> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// How many accepted connections have ended.
    pub fn closed(&self) -> usize {
        self.3.load(Ordering::SeqCst)
    }

    /// Connections that were closed for what their peer did.
    pub fn ends(&self) -> Vec<ConnectionEnd> {
        self.1.lock().expect("not poisoned").clone()
    }

    /// Status and caller of each request that was answered before the service saw it.
    pub fn requests_refused(&self) -> Vec<(u16, Option<String>)> {
        self.2.lock().expect("not poisoned").clone()
    }

    /// How many calls this caller was refused for its share.
    pub fn calls_refused(&self, path: &str) -> usize {
        self.4.lock().expect("not poisoned").get(id(path).as_str()).copied().unwrap_or_default()
    }

    /// Connections that were accepted and are not closed yet.
    pub fn open(&self) -> usize {
        // In this order: one that is closed was accepted before.
        let closed = self.closed();
        let all = self.0.lock().expect("not poisoned");
        all.iter().filter(|record| record.verdict == Verdict::Accepted).count() - closed
    }

    /// Waits for the first of them that fits.
    pub async fn wait_end(&self, fits: impl Fn(&ConnectionEnd) -> bool) -> ConnectionEnd {
        let what = "such an end of a connection";
        eventually(what, async || self.ends().into_iter().find(|end| fits(end))).await
    }

    /// Waits for the first record that fits.
    pub async fn wait(&self, fits: impl Fn(&ConnectionRecord) -> bool) -> ConnectionRecord {
        let what = "such a record";
        eventually(what, async || self.all().into_iter().find(|record| fits(record))).await
    }
}

/// A running health service.
pub struct Running {
    pub address: SocketAddr,
    pub records: Arc<Records>,
    pub health: tonic_health::server::HealthReporter,
    server: loopback::Running,
}

pub async fn serve(identity: Identity, options: ServerOptions) -> Running {
    serve_with(Server::new(identity, IdentityFilter::trust_domain(domain())).options(options)).await
}

pub async fn serve_with(server: Server) -> Running {
    let (health, service) = tonic_health::server::health_reporter();
    let routes = tonic::service::Routes::new(service).prepare();
    let records = Arc::new(Records::default());
    let server = loopback::serve(server.observer(records.clone()), routes).await;
    Running { address: server.address, records, health, server }
}

impl Running {
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub async fn stop(self) -> Drained {
        self.server.stop().await
    }
}

pub fn channel(identity: &Identity, running: &Running) -> Channel {
    identity.channel(&running.url(), id("/server")).build().expect("a channel")
}

pub async fn check(channel: &Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel.clone()).check(HealthCheckRequest { service: String::new() }).await.map(|_| ())
}
