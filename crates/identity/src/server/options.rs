//! Limits and times of a listener, each with a default that is safe to leave.

use std::time::Duration;

use avouch_spiffe::Bounds;

use crate::deadline::LONGEST;
use crate::listen::descriptors::KEPT;
use crate::verify::ChainLimits;

/// The reason for the bounds of numbers of connections.
const NOTHING_OR_TOO_MANY: &str =
    "with 0 no connection is accepted, and Linux gives a process no more descriptors";
/// The most descriptors that Linux gives a process (fs.nr_open's default).
const DESCRIPTORS: usize = 1 << 20;

/// Limits and times of a [`Server`](crate::Server).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Handshakes under way at once. To make room for one more, the oldest of the source network (IPv4 address, IPv6
    /// /56) that has most of them is rejected with HANDSHAKE_LIMIT, so that no peer locks out others.
    pub max_handshakes: usize,
    /// Handshakes begun per second by one source network, and as many at once; one more is rejected with
    /// HANDSHAKE_LIMIT before it costs a key exchange.
    pub max_handshake_rate: u32,
    /// Connections open at once after their handshake. When all are in use, one more of the identity that holds most of
    /// them, from the network that holds most of those, is rejected with HANDSHAKE_LIMIT; one of anybody else takes the
    /// place of an idle one of that top holder, or else of its oldest.
    pub max_connections: usize,
    /// Calls under way at once on all connections together, without those that count as streams. When there are more, the
    /// top holder's are denied with RATE_LIMITED, and everybody's at twice as many.
    pub max_calls: usize,
    /// Answers that have begun and wait for more to say, as endless ones do, on all connections together; bounded as
    /// calls are.
    pub max_streams: usize,
    /// Bytes held for peers on all connections together: of requests that are not complete, and of answers that nobody
    /// reads; bounded as calls are.
    pub max_buffered_bytes: u64,
    /// The time that the message of a request may take from when it is first waited for. Methods whose contract says
    /// that the client streams are excepted.
    pub request_timeout: Duration,
    /// Connections without a peer identity (where they are admitted at all), and never more than half of all. To make
    /// room for one more, the oldest of the source network that has most is closed.
    pub max_unauthenticated_connections: usize,
    /// The life of a connection without a peer identity; at half of it it is asked to go away.
    pub unauthenticated_connection_age: Duration,
    /// Bytes that a connection without a peer identity may send; beyond it it is closed.
    pub max_unauthenticated_bytes: u64,
    /// The time limit from accept to the end of the handshake, and again from there to the HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// The limits on the chain that a peer may present.
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
    pub max_cancelled_calls: u32,
    /// Bytes of answers held for one stream whose peer does not read.
    pub max_send_buffer_size: usize,
    /// A connection is asked to go away at this age, ± 10 %.
    pub max_connection_age: Duration,
    /// The time from asking a connection to go away to closing it. Streams that are open at half of it end with
    /// CONNECTION_RETIRING.
    pub retirement_grace: Duration,
    /// The interval of pings on an idle connection.
    pub keepalive_interval: Duration,
    /// The time after which a connection whose ping is not answered is closed.
    pub keepalive_timeout: Duration,
    /// The time for which the connection of a rejected handshake is kept half open so that the alert arrives.
    pub linger: Duration,
}

/// The bounds for a configuration. A program that sets the fields itself may go beyond; what would panic is then brought
/// within what tokio, hyper and h2 take.
impl ServerOptions {
    /// The bounds of [`ServerOptions::max_handshakes`].
    pub const MAX_HANDSHAKES: Bounds<usize> = Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// The bounds of [`ServerOptions::max_handshake_rate`].
    pub const MAX_HANDSHAKE_RATE: Bounds<u32> = Bounds::new(
        1,
        1_000_000,
        "with 0 no handshake is accepted, and more than one per microsecond is no limit",
    );
    /// The bounds of [`ServerOptions::max_connections`].
    pub const MAX_CONNECTIONS: Bounds<usize> = Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// The bounds of [`ServerOptions::max_calls`].
    pub const MAX_CALLS: Bounds<usize> =
        Bounds::new(1, 1 << 24, "with 0 no call is accepted, and each takes some kilobytes");
    /// The bounds of [`ServerOptions::max_streams`].
    pub const MAX_STREAMS: Bounds<usize> = Bounds::new(
        1,
        1 << 24,
        "with 0 no stream is accepted, and each takes some kilobytes as long as it is open",
    );
    /// The bounds of [`ServerOptions::max_buffered_bytes`].
    pub const MAX_BUFFERED_BYTES: Bounds<u64> = Bounds::new(
        1 << 20,
        1 << 40,
        "one message may take 4 MiB, and what is held for peers is memory of this process",
    );
    /// The bounds of [`ServerOptions::request_timeout`].
    pub const REQUEST_TIMEOUT: Bounds<Duration> = Bounds::new(
        Duration::from_millis(100),
        Duration::from_secs(3600),
        "a message may come over a slow network, and one that never ends holds its call",
    );
    /// The bounds of [`ServerOptions::max_unauthenticated_connections`].
    pub const MAX_UNAUTHENTICATED_CONNECTIONS: Bounds<usize> =
        Bounds::new(1, DESCRIPTORS, NOTHING_OR_TOO_MANY);
    /// The bounds of [`ServerOptions::unauthenticated_connection_age`].
    pub const UNAUTHENTICATED_CONNECTION_AGE: Bounds<Duration> = Bounds::new(
        Duration::from_secs(1),
        Duration::from_secs(3600),
        "enrolment takes two calls, and a connection without an identity takes room from others",
    );
    /// The bounds of [`ServerOptions::handshake_timeout`].
    pub const HANDSHAKE_TIMEOUT: Bounds<Duration> = Bounds::new(
        Duration::from_millis(10),
        Duration::from_secs(300),
        "a handshake takes a round trip and a signature, and one that does not end holds a place",
    );
    /// The bounds of [`ServerOptions::max_concurrent_streams`].
    pub const MAX_CONCURRENT_STREAMS: Bounds<u32> =
        Bounds::new(1, 1 << 16, "with 0 no call is accepted, and each stream takes memory");
    /// The bounds of [`ServerOptions::max_header_list_size`].
    pub const MAX_HEADER_LIST_SIZE: Bounds<u32> = Bounds::new(
        1 << 10,
        1 << 20,
        "the headers of a call take some hundred bytes, and a peer can make each connection hold four times as many",
    );
    /// The bounds of [`ServerOptions::max_cancelled_calls`].
    pub const MAX_CANCELLED_CALLS: Bounds<u32> =
        Bounds::new(1, 1_000_000, "callers cancel calls now and then, and more in ten seconds is a flood");
    /// The bounds of [`ServerOptions::max_connection_age`].
    pub const MAX_CONNECTION_AGE: Bounds<Duration> = Bounds::new(
        Duration::from_secs(1),
        Duration::from_secs(7 * 24 * 3600),
        "a new connection costs a handshake, and no certificate of avouch lives longer",
    );
    /// The bounds of [`ServerOptions::retirement_grace`].
    pub const RETIREMENT_GRACE: Bounds<Duration> =
        Bounds::new(Duration::ZERO, Duration::from_secs(300), "a stop must not take longer");
    /// The bounds of [`ChainLimits::max_depth`].
    pub const MAX_CHAIN_DEPTH: Bounds<usize> =
        Bounds::new(1, 16, "the leaf is one, and each more costs a signature check before the peer is known");
    /// The bounds of [`ChainLimits::max_certificate_bytes`].
    pub const MAX_CERTIFICATE_BYTES: Bounds<usize> = Bounds::new(
        256,
        64 * 1024,
        "an SVID takes some hundred bytes, and a handshake is read no further than 64 KiB",
    );

    /// The number of descriptors that a process could need with one listener of these limits.
    #[must_use]
    pub fn descriptors_needed(&self) -> u64 {
        let connections = self.max_handshakes.saturating_add(self.max_connections);
        (connections as u64).saturating_add(KEPT)
    }

    /// These options, with every number at most what the libraries below take: they panic beyond it.
    pub(crate) fn without_panics(mut self) -> Self {
        // hyper asserts that it fits 32 bits, though it takes a `usize`.
        self.max_send_buffer_size = self.max_send_buffer_size.min(u32::MAX as usize);
        // Each is added to a moment, here or in hyper; the age is multiplied for its jitter before.
        for time in [
            &mut self.unauthenticated_connection_age,
            &mut self.handshake_timeout,
            &mut self.request_timeout,
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
            max_calls: 16 * 1024,
            max_streams: 8 * 1024,
            max_buffered_bytes: 256 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            max_unauthenticated_connections: 1024,
            unauthenticated_connection_age: Duration::from_secs(30),
            max_unauthenticated_bytes: 256 * 1024,
            handshake_timeout: Duration::from_secs(5),
            chain: ChainLimits::default(),
            max_concurrent_streams: 256,
            max_header_list_size: 16 * 1024,
            max_pending_accept_reset_streams: 32,
            max_cancelled_calls: 512,
            max_send_buffer_size: 64 * 1024,
            max_connection_age: Duration::from_secs(30 * 60),
            retirement_grace: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_needed_does_not_overflow() {
        let options = ServerOptions { max_connections: usize::MAX, ..ServerOptions::default() };
        assert_eq!(options.descriptors_needed(), u64::MAX);
        assert_eq!(ServerOptions::default().descriptors_needed(), 1024 + 16_384 + 160);
    }
}
