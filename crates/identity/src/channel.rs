//! A gRPC channel over mutual TLS that survives rotation, for any generated tonic client.
//!
//! One HTTP/2 connection at a time, replaced before its certificates end. A call waits for a connection within its
//! deadline, connecting included; it is repeated only if the peer certainly did not process it. Every other failure
//! reaches the caller, who alone knows what may be repeated. The server must be one of the identities named: there
//! is no channel without.

mod addresses;
mod body;
mod call;
mod circumstances;
pub(crate) mod connect;
mod failure;
mod keeper;
pub(crate) mod link;
mod outgoing;
mod rewind;
mod single;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use avouch_spiffe::{HostPort, HostPortError, Reason};
use http::uri::Authority;
use http::{HeaderValue, Request};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

pub use body::ResponseBody;
pub use call::Call;
use failure::ConnectFailure;
use link::{Keepalive, Link};
pub(crate) use single::SingleUse;

use crate::deadline::{self, LONGEST};
use crate::filter::IdentityFilter;
use crate::snapshot::Identity;
use crate::supervise;
use crate::verify::ChainLimits;

/// Why a channel cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The address is not of the form `https://host:port`.
    #[error("`{0}` is not an address of the form https://host:port")]
    Address(String),
    /// Its host and port are none, or nobody could connect there.
    #[error("`{address}` is not an address to connect to")]
    HostPort {
        /// As given.
        address: String,
        /// What is wrong with it.
        source: HostPortError,
    },
}

/// Settings of a [`Channel`].
#[derive(Debug)]
pub struct ChannelBuilder {
    identity: Identity,
    url: String,
    expect: IdentityFilter,
    limits: ChainLimits,
    default_timeout: Option<Duration>,
    connect_timeout: Duration,
    patience: Duration,
    keepalive: Keepalive,
}

impl ChannelBuilder {
    pub(crate) fn new(identity: Identity, url: &str, expect: IdentityFilter) -> Self {
        Self {
            identity,
            url: url.to_owned(),
            expect,
            limits: ChainLimits::default(),
            default_timeout: Some(Duration::from_secs(10)),
            connect_timeout: Duration::from_secs(3),
            patience: Duration::from_secs(1),
            keepalive: Keepalive { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) },
        }
    }

    /// The deadline of calls that carry none of their own; 10 s by default. It covers the whole call, streams
    /// included: a channel for endless streams sets `None`. More than a year counts as a year.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.default_timeout = timeout.map(|timeout| timeout.min(LONGEST));
        self
    }

    /// How long opening a connection may take; 3 s by default: a way of 200 ms and a lost packet on it cost 1.4 s. A
    /// replacement is begun three seconds before the old connection ends.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(LONGEST);
        self
    }

    /// How long a call waits for a server that cannot be reached before it fails with UNAVAILABLE; 1 s by default. The
    /// first attempt is waited for to its end, which is success or the connect timeout.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST);
        self
    }

    /// What the server may present.
    #[must_use]
    pub fn chain_limits(mut self, limits: ChainLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes the channel. It connects at the first call. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address is not `https://host:port`, or one that nobody could connect to.
    pub fn build(self) -> Result<Channel, ChannelError> {
        let (authority, address) = parse_address(&self.url)?;
        let shared = Arc::new(Shared {
            identity: self.identity,
            authority,
            host: address.host().to_owned(),
            port: address.port(),
            expect: self.expect,
            limits: self.limits,
            default_timeout: self.default_timeout.map(|timeout| (timeout, deadline::header_value(timeout))),
            connect_timeout: self.connect_timeout,
            patience: self.patience,
            keepalive: self.keepalive,
            link: ArcSwapOption::empty(),
            phase: watch::Sender::new(Phase::Idle),
            demand: Notify::new(),
            used: AtomicBool::new(false),
        });
        let kept = shared.clone();
        let keeper =
            supervise::keep_running("a channel's keeper", move || keeper::keep(kept.clone()), |_| {});
        let keeper = AbortOnDropHandle::new(keeper);
        Ok(Channel { shared, _keeper: Arc::new(keeper) })
    }
}

/// The host and port of `https://host:port`, without anything else: no user, no path, no query.
///
/// # Errors
/// When `url` is not that, or an address that nobody could connect to.
pub fn server_address(url: &str) -> Result<HostPort, ChannelError> {
    parse_address(url).map(|(_, address)| address)
}

fn parse_address(url: &str) -> Result<(Authority, HostPort), ChannelError> {
    let wrong = || ChannelError::Address(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // A fragment too: the parser of URIs drops it without a word.
    if !scheme.eq_ignore_ascii_case("https") || rest.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let address: HostPort = rest
        .parse()
        .and_then(|address: HostPort| address.usable().map(|()| address))
        .map_err(|source| ChannelError::HostPort { address: url.to_owned(), source })?;
    Ok((authority(&address).ok_or_else(wrong)?, address))
}

/// As it stands in a request. `None` for a zone, which is known to this machine alone and no part of a URI here.
pub(crate) fn authority(address: &HostPort) -> Option<Authority> {
    address.to_string().parse().ok()
}

/// A cheap `Clone` handle to a connection that keeps itself up.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    _keeper: Arc<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("authority", &self.shared.authority)
            .field("expect", &self.shared.expect)
            .finish_non_exhaustive()
    }
}

impl tower_service::Service<Request<tonic::body::Body>> for Channel {
    type Response = http::Response<ResponseBody>;
    type Error = Status;
    type Future = Call;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Call {
        Call::new(self.shared.clone(), request)
    }
}

/// Where a channel's connection is.
#[derive(Clone)]
enum Phase {
    /// Nobody has asked.
    Idle,
    Connecting,
    Up,
    Down(Arc<ConnectFailure>),
}

struct Shared {
    identity: Identity,
    authority: Authority,
    host: String,
    port: u16,
    expect: IdentityFilter,
    limits: ChainLimits,
    default_timeout: Option<(Duration, HeaderValue)>,
    connect_timeout: Duration,
    patience: Duration,
    keepalive: Keepalive,
    link: ArcSwapOption<Link>,
    phase: watch::Sender<Phase>,
    demand: Notify,
    used: AtomicBool,
}

impl Shared {
    /// The open connection.
    fn current(&self) -> Option<Arc<Link>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.link.load_full().filter(|link| !link.is_closed())
    }

    fn publish(&self, link: Arc<Link>) {
        self.link.store(Some(link));
        self.phase.send_replace(Phase::Up);
    }

    /// Takes a connection out of use, if it is the current one.
    fn withdraw(&self, serial: u64) {
        let current = self.link.load();
        if current.as_ref().is_some_and(|link| link.serial == serial) {
            self.link.compare_and_swap(&current, None);
            self.phase.send_replace(Phase::Idle);
        }
    }

    /// Resolves when a caller has found the connection unusable.
    async fn broken(&self, serial: u64) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`.
        let _ = phase.wait_for(|_| self.link.load().as_ref().is_none_or(|link| link.serial != serial)).await;
    }

    /// Waits for a connection other than `dead`.
    async fn next_link(&self, dead: Option<u64>) -> Result<Arc<Link>, Status> {
        if let Some(serial) = dead {
            self.withdraw(serial);
        }
        let mut phase = self.phase.subscribe();
        let patience = tokio::time::Instant::now() + self.patience;
        let mut failure: Option<Arc<ConnectFailure>> = None;
        loop {
            // Seen before the look at the connection: one that is published in between still wakes us.
            let seen = phase.borrow_and_update().clone();
            if let Some(link) = self.current() {
                return Ok(link);
            }
            let connecting = matches!(seen, Phase::Connecting);
            if let Phase::Down(down) = seen {
                if !down.is_retryable() {
                    // A caller that asks in circles must not keep the keeper from its turn.
                    tokio::task::yield_now().await;
                    return Err(down.to_status());
                }
                failure = Some(down);
            }
            self.demand.notify_one();
            let changed = match &failure {
                // Under way and not failed yet: it ends by itself.
                None if connecting => phase.changed().await,
                _ => match tokio::time::timeout_at(patience, phase.changed()).await {
                    Ok(changed) => changed,
                    Err(_elapsed) => return Err(self.out_of_patience(failure.as_deref())),
                },
            };
            if changed.is_err() {
                return Err(Status::unavailable("the channel is closed"));
            }
        }
    }

    fn out_of_patience(&self, failure: Option<&ConnectFailure>) -> Status {
        match failure {
            Some(failure) => failure.to_status(),
            None => {
                let message = format!("no connection to {} within {:?}", self.authority, self.patience);
                crate::status::status(Reason::HandshakeTimeout, message, [])
            }
        }
    }
}
