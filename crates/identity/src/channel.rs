//! A gRPC channel over mutual TLS that survives rotation, for any generated tonic client (ADR 1).
//!
//! One HTTP/2 connection at a time, replaced when the SVID is renewed and before its certificates end. A call waits for
//! a connection within its deadline, connecting included; it is repeated only if the peer certainly did not process it.
//! Every other failure reaches the caller, who alone knows what may be repeated. A channel always names the identities
//! that its server may have. Where a name has several addresses, the server at each has to prove its identity, and one
//! good address is enough.

mod addresses;
mod attempt;
mod body;
mod call;
mod call_failure;
pub(crate) mod connect;
pub(crate) mod examination;
mod failure;
mod first_frame;
mod http2;
pub(crate) mod http2_connection;
mod lifetime;
mod outgoing;
mod prefixed_io;
pub(crate) mod progress;
mod race;
mod reconnect;
mod refusal;
mod retirement;
mod revocation_watch;
mod shared;
mod single_connection;
mod steps;
mod streaming;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use avouch_spiffe::contract::MethodRule;
use avouch_spiffe::{HostPort, HostPortError};
use http::Request;
use http::uri::Authority;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

pub(crate) use addresses::BadAddresses;
pub use body::ResponseBody;
pub use call::Call;
use http2_connection::Keepalive;
pub use retirement::Retirement;
use shared::{Phase, Shared};
pub(crate) use single_connection::SingleConnection;
use streaming::StreamingMethods;

use crate::deadline::{self, LONGEST};
use crate::filter::IdentityFilter;
use crate::identity::Identity;
use crate::supervise;
use crate::verify::ChainLimits;

/// The error of a channel that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The address is not of the form `https://host:port`.
    #[error("`{0}` is not an address of the form https://host:port")]
    Address(String),
    /// The host and port are not valid, or nobody could connect there.
    #[error("`{address}` is not an address to connect to")]
    HostPort {
        /// The address as it was given.
        address: String,
        /// The clause of `HOST:PORT` that it breaks.
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
    ready_timeout: Duration,
    keepalive: Keepalive,
    streaming: StreamingMethods,
}

impl ChannelBuilder {
    fn new(identity: Identity, url: &str, expect: IdentityFilter) -> Self {
        Self {
            identity,
            url: url.to_owned(),
            expect,
            limits: ChainLimits::default(),
            default_timeout: Some(Duration::from_secs(10)),
            connect_timeout: Duration::from_secs(3),
            ready_timeout: Duration::from_secs(1),
            keepalive: Keepalive { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) },
            streaming: StreamingMethods::well_known(),
        }
    }

    /// The deadline of unary calls that carry none of their own; 10 s by default. Methods that stream, by the contracts
    /// given to [`ChannelBuilder::methods`], get none: they end by their own deadline, by that of the call being served,
    /// or not at all. A method that no contract has counts as unary. More than a year counts as a year.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.default_timeout = timeout.map(|timeout| timeout.min(LONGEST));
        self
    }

    /// Which methods stream: those of a contract that `avouch-build` generated, `.methods(CONTRACT.methods)`, for each
    /// contract that is called over the channel. Those of `grpc.health.v1`, `grpc.reflection` and avouch itself are
    /// known.
    #[must_use]
    pub fn methods<'a>(mut self, methods: impl IntoIterator<Item = &'a MethodRule>) -> Self {
        self.streaming.add(methods);
        self
    }

    /// How long opening a connection may take, at all addresses together; 3 s by default: a way of 200 ms and a lost
    /// packet on it cost 1.4 s. A replacement is begun three seconds before the old connection ends.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(LONGEST);
        self
    }

    /// How long a call waits for a server that cannot be reached before it fails with UNAVAILABLE; 1 s by default. The
    /// first attempt is waited for to its end, which is success or the connect timeout.
    #[must_use]
    pub fn ready_timeout(mut self, ready_timeout: Duration) -> Self {
        self.ready_timeout = ready_timeout.min(LONGEST);
        self
    }

    /// The limits on the chain that the server may present.
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
            address,
            expect: self.expect,
            limits: self.limits,
            default_timeout: self.default_timeout.map(|timeout| (timeout, deadline::header_value(timeout))),
            connect_timeout: self.connect_timeout,
            ready_timeout: self.ready_timeout,
            keepalive: self.keepalive,
            streaming: self.streaming,
            connection: ArcSwapOption::empty(),
            phase: watch::Sender::new(Phase::Idle),
            demand: Notify::new(),
            used: AtomicBool::new(false),
            bad_addresses: BadAddresses::default(),
        });
        let kept = shared.clone();
        let task = supervise::keep_running(
            "the connection of a channel",
            move || reconnect::run(kept.clone()),
            |_| {},
        );
        let task = AbortOnDropHandle::new(task);
        Ok(Channel { shared, _task: Arc::new(task) })
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
    // A fragment too, since the URI parser drops it silently.
    if !scheme.eq_ignore_ascii_case("https") || rest.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let address: HostPort = rest
        .parse()
        .and_then(|address: HostPort| address.usable().map(|()| address))
        .map_err(|source| ChannelError::HostPort { address: url.to_owned(), source })?;
    Ok((authority(&address).ok_or_else(wrong)?, address))
}

/// The authority of a request's URI. `None` for an address with a zone, which has a meaning on this machine alone.
pub(crate) fn authority(address: &HostPort) -> Option<Authority> {
    address.to_string().parse().ok()
}

impl Identity {
    /// Begins a channel to `url` (`https://host:port`) whose server must be one of `expect`.
    pub fn channel(&self, url: &str, expect: impl Into<IdentityFilter>) -> ChannelBuilder {
        ChannelBuilder::new(self.clone(), url, expect.into())
    }
}

/// A cheap `Clone` handle to a connection that is replaced and reopened by itself.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    _task: Arc<AbortOnDropHandle<()>>,
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
