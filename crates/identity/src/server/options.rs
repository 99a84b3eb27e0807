//! Limits and times of a listener, each with a default that is safe to leave.

use std::time::Duration;

use avouch_spiffe::Bounds;
use tokio::sync::Semaphore;

use crate::deadline::LONGEST;
use crate::verify::ChainLimits;

const NOTHING_OR_TOO_MANY: &str =
    "with none nothing gets through, and Linux gives a process no more descriptors";
const DESCRIPTORS: usize = 1 << 20;

/// Limits and times of a [`Server`](crate::Server).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Handshakes under way at once. To make room for one more, the oldest of the source network (IPv4 address, IPv6
    /// /64) that has most of them is refused with HANDSHAKE_LIMIT, so that no peer locks out others.
    pub max_handshakes: usize,
    /// Handshakes begun per second by one source network, and as many at once; one more is refused with
    /// HANDSHAKE_LIMIT before it costs a key exchange.
    pub max_handshake_rate: u32,
    /// Connections open at once after their handshake; one more is refused with HANDSHAKE_LIMIT.
    pub max_connections: usize,
    /// Of them without a peer identity (where they are admitted at all), and never more than half of all. To make room
    /// for one more, the oldest of the source network that has most is closed.
    pub max_unauthenticated_connections: usize,
    /// How long a connection without a peer identity lives; at half of it it is asked to go away.
    pub unauthenticated_connection_age: Duration,
    /// Bytes that a connection without a peer identity may send; beyond it it is closed.
    pub max_unauthenticated_bytes: u64,
    /// From accept to the end of the handshake, and again from there to the HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// What a peer may present.
    pub chain: ChainLimits,
    /// HTTP/2 streams open at once on a connection.
    pub max_concurrent_streams: u32,
    /// A request's header list has fewer bytes than this, or it is answered with 431; with four times as many the
    /// connection ends.
    pub max_header_list_size: u32,
    /// Streams reset by the peer before they were accepted; beyond it the connection ends (rapid reset).
    pub max_pending_accept_reset_streams: usize,
    /// Calls that a peer may abandon within ten seconds; one who abandons more, and more than they let finish, loses
    /// the connection (rapid reset, after the stream was accepted).
    pub max_abandoned_calls: u32,
    /// Bytes of answers held for one stream whose peer does not read.
    pub max_send_buffer_size: usize,
    /// A connection is asked to go away at this age, ± 10 %.
    pub max_connection_age: Duration,
    /// From asking a connection to go away to closing it. Streams that are open at half of it end with
    /// CONNECTION_RETIRING.
    pub retirement_grace: Duration,
    /// Ping an idle connection this often.
    pub keepalive_interval: Duration,
    /// Close a connection whose ping stays unanswered this long.
    pub keepalive_timeout: Duration,
    /// After a refused handshake: how long to keep the connection half open so that the alert arrives.
    pub linger: Duration,
}

/// What a configuration may say. A program that sets the fields itself may go beyond; what would panic is then brought
/// within what tokio, hyper and h2 take.
impl ServerOptions {
    /// Of [`ServerOptions::max_handshakes`].
    pub const MAX_HANDSHAKES: Bounds<usize> = Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// Of [`ServerOptions::max_handshake_rate`].
    pub const MAX_HANDSHAKE_RATE: Bounds<u32> = Bounds::new(
        1,
        1_000_000,
        "with none nothing gets through, and more than one in a microsecond is no limit",
    );
    /// Of [`ServerOptions::max_connections`].
    pub const MAX_CONNECTIONS: Bounds<usize> = Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// Of [`ServerOptions::max_unauthenticated_connections`].
    pub const MAX_UNAUTHENTICATED_CONNECTIONS: Bounds<usize> =
        Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// Of [`ServerOptions::unauthenticated_connection_age`].
    pub const UNAUTHENTICATED_CONNECTION_AGE: Bounds<Duration> = Bounds::new(
        Duration::from_secs(1),
        Duration::from_secs(3600),
        "to enrol takes two calls, and whoever stays without an identity takes room from others",
    );
    /// Of [`ServerOptions::handshake_timeout`].
    pub const HANDSHAKE_TIMEOUT: Bounds<Duration> = Bounds::new(
        Duration::from_millis(10),
        Duration::from_secs(300),
        "a handshake takes a round trip and a signature, and one that does not end holds a place",
    );
    /// Of [`ServerOptions::max_concurrent_streams`].
    pub const MAX_CONCURRENT_STREAMS: Bounds<u32> =
        Bounds::new(1, 1 << 16, "with none no call gets through, and each takes memory of its own");
    /// Of [`ServerOptions::max_header_list_size`].
    pub const MAX_HEADER_LIST_SIZE: Bounds<u32> = Bounds::new(
        1 << 10,
        1 << 20,
        "the headers of a call take some hundred bytes, and a peer can make each connection hold four times as many",
    );
    /// Of [`ServerOptions::max_abandoned_calls`].
    pub const MAX_ABANDONED_CALLS: Bounds<u32> =
        Bounds::new(1, 1_000_000, "a caller may change its mind, and more in ten seconds is a flood");
    /// Of [`ServerOptions::max_connection_age`].
    pub const MAX_CONNECTION_AGE: Bounds<Duration> = Bounds::new(
        Duration::from_secs(1),
        Duration::from_secs(7 * 24 * 3600),
        "a new connection costs a handshake, and no certificate of avouch lives longer",
    );
    /// Of [`ServerOptions::retirement_grace`].
    pub const RETIREMENT_GRACE: Bounds<Duration> =
        Bounds::new(Duration::ZERO, Duration::from_secs(300), "nobody waits longer for a stop");
    /// Of [`ChainLimits::max_depth`].
    pub const MAX_CHAIN_DEPTH: Bounds<usize> =
        Bounds::new(1, 16, "the leaf is one, and each more costs a signature check before the peer is known");
    /// Of [`ChainLimits::max_certificate_bytes`].
    pub const MAX_CERTIFICATE_BYTES: Bounds<usize> = Bounds::new(
        256,
        64 * 1024,
        "an SVID takes some hundred bytes, and a handshake is read no further than 64 KiB",
    );

    /// These options, with every number at most what the libraries below take: they panic beyond it.
    pub(crate) fn without_panics(mut self) -> Self {
        self.max_connections = self.max_connections.min(Semaphore::MAX_PERMITS);
        // hyper asserts that it fits 32 bits, though it takes a `usize`.
        self.max_send_buffer_size = self.max_send_buffer_size.min(u32::MAX as usize);
        // Each is added to a moment, here or in hyper; the age is multiplied for its jitter before.
        for time in [
            &mut self.unauthenticated_connection_age,
            &mut self.handshake_timeout,
            &mut self.max_connection_age,
            &mut self.retirement_grace,
            &mut self.keepalive_interval,
            &mut self.keepalive_timeout,
            &mut self.linger,
        ] {
            *time = (*time).min(LONGEST);
        }
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_handshakes: 1024,
            max_handshake_rate: 2_000,
            max_connections: 16 * 1024,
            max_unauthenticated_connections: 1024,
            unauthenticated_connection_age: Duration::from_secs(30),
            max_unauthenticated_bytes: 256 * 1024,
            handshake_timeout: Duration::from_secs(5),
            chain: ChainLimits::default(),
            max_concurrent_streams: 256,
            max_header_list_size: 16 * 1024,
            max_pending_accept_reset_streams: 32,
            max_abandoned_calls: 512,
            max_send_buffer_size: 64 * 1024,
            max_connection_age: Duration::from_secs(30 * 60),
            retirement_grace: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(500),
        }
    }
}

/// How long before the end of a certificate's life its connections retire: a tenth of the life, between two and
/// thirty seconds. Clients use one and a half times this, so that they go before they are told to.
pub(crate) fn retirement_margin(life: Duration) -> Duration {
    (life / 10).clamp(Duration::from_secs(2), Duration::from_secs(30))
}
