//! The limits of the plain health port. Fixed: whoever probes a process needs no more, and nobody has to tune them.

use std::time::Duration;

/// Connections open at once. A process is asked by a kubelet, a scraper or two, a load balancer and sometimes a person,
/// each with one or two; at their most expensive all of them together hold some MiB.
pub(super) const CONNECTIONS: usize = 64;

/// Sockets open at once: the connections, and the evicted ones that are about to be closed.
pub(super) const SOCKETS: usize = CONNECTIONS + 16;

/// From accept to the end of the first request's head, the HTTP/2 preface included. Probes come from near by.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a connection stays open without a request in progress, and how long a later request's head may take. Beyond
/// it a scraper reconnects, which is cheap at its rate.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(30);

/// From a request's head to the end of its answer, streams of `Watch` excepted. Scrapers give up after ten seconds.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// From the head of an RPC to its message, which is a few octets and follows at once.
pub(super) const MESSAGE_TIME: Duration = Duration::from_secs(5);

/// How long a connection may take to close once it is asked to.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// How often a connection checks whether it is overdue.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// HTTP/2 streams of a connection. A health client has one, for each service that it asks about.
pub(super) const STREAMS: u32 = 8;

/// Streams of `Watch` on one connection; the rest are left to other calls.
pub(super) const WATCHES_PER_CONNECTION: usize = 4;

/// Streams of `Watch` in all, shared out by source network.
pub(super) const WATCHES: usize = 64;

/// Answers of `/metrics` under way at once, each of which holds a page of perhaps a hundred KiB until it is read.
pub(super) const PAGES: usize = 16;

/// Pages of `/metrics` for one source network: a page costs a walk over all series.
pub(super) const PAGE_RATE: (u32, Duration) = (400, Duration::from_millis(5));

/// Source networks whose rates are told apart, at 100 octets each.
pub(super) const NETWORKS: usize = 1024;

/// A request's header list over HTTP/2, and all that HTTP/1.1 holds of a head or of an answer; the least that hyper
/// takes.
pub(super) const HEADERS: u32 = 8 * 1024;

/// The message of an RPC: the name of a service.
pub(super) const MESSAGE: usize = 1024;

/// The flow-control window of a stream: what a peer may send before it is read. Only a [`MESSAGE`] is ever read.
pub(super) const STREAM_WINDOW: u32 = 4 * 1024;

/// The flow-control window of a connection. It cannot be smaller than the initial window of HTTP/2 (RFC 9113 §6.9.2).
pub(super) const CONNECTION_WINDOW: u32 = 65_535;

/// Bytes buffered for one stream whose peer does not read, and the size of the pieces of a page.
pub(super) const SEND_BUFFER: usize = 8 * 1024;

/// Streams that a peer may reset before they are accepted, or lose for errors, before the connection ends (rapid reset).
pub(super) const RESETS: usize = 32;

/// HTTP/2 keepalive with an open `Watch`: the interval of pings, and how long a peer may take to answer one.
pub(super) const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
