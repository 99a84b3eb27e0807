//! `[service.limits]`: the limits of the listener that an operator may change, with their bounds.

use avouch_identity::ServerOptions;
use avouch_spiffe::Bounds;
use serde::Deserialize;

use super::error::ConfigFault;
use super::scalar::{Readable, Scalar};

/// `[service.limits]` as written; each has a safe default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Handshakes in progress at once; beyond it the oldest handshake of the source network with the most is evicted.
    /// Default 1024.
    max_handshakes: Option<Scalar>,
    /// Handshakes begun per second by one source network (IPv4 address, IPv6 /56). Default 2000.
    max_handshake_rate: Option<Scalar>,
    /// Connections open at once; when all are in use, the identity that holds most of them gets no more. Default 16384.
    max_connections: Option<Scalar>,
    /// Calls in progress on all connections together, not counting streams that wait. Default 16384.
    max_calls: Option<Scalar>,
    /// Response streams that have begun and wait for the next message, on all connections together. Default 8192.
    max_streams: Option<Scalar>,
    /// Bytes held for peers on all connections together. Default 256 MiB.
    max_buffered_bytes: Option<Scalar>,
    /// How long the message of a request may take, unless its client streams. Default 30 s.
    request_timeout: Option<Scalar>,
    /// Connections without a peer identity, where such are admitted. Default 1024, and never more than half.
    max_unauthenticated_connections: Option<Scalar>,
    /// How long a connection without a peer identity lives. Default 30 s.
    unauthenticated_connection_age: Option<Scalar>,
    /// From accept to the end of the handshake, and again to the HTTP/2 preface. Default 5 s.
    handshake_timeout: Option<Scalar>,
    /// Streams open at once on a connection.
    max_concurrent_streams: Option<Scalar>,
    /// Bytes of a request's headers.
    max_header_list_size: Option<Scalar>,
    /// Calls a peer may cancel within ten seconds unless it lets more of them finish. Default 512.
    max_cancelled_calls: Option<Scalar>,
    /// The age at which a connection is asked to close (GOAWAY).
    max_connection_age: Option<Scalar>,
    /// Certificates in a peer's chain, leaf included.
    max_chain_depth: Option<Scalar>,
    /// Bytes of one certificate.
    max_certificate_bytes: Option<Scalar>,
}

impl RawLimits {
    pub(super) fn check(&self) -> Result<ServerOptions, ConfigFault> {
        type O = ServerOptions;
        let mut o = O::default();
        set("max_handshakes", &self.max_handshakes, &O::MAX_HANDSHAKES, &mut o.max_handshakes)?;
        set(
            "max_handshake_rate",
            &self.max_handshake_rate,
            &O::MAX_HANDSHAKE_RATE,
            &mut o.max_handshake_rate,
        )?;
        set("max_connections", &self.max_connections, &O::MAX_CONNECTIONS, &mut o.max_connections)?;
        set("max_calls", &self.max_calls, &O::MAX_CALLS, &mut o.max_calls)?;
        set("max_streams", &self.max_streams, &O::MAX_STREAMS, &mut o.max_streams)?;
        set(
            "max_buffered_bytes",
            &self.max_buffered_bytes,
            &O::MAX_BUFFERED_BYTES,
            &mut o.max_buffered_bytes,
        )?;
        set("request_timeout", &self.request_timeout, &O::REQUEST_TIMEOUT, &mut o.request_timeout)?;
        set(
            "max_unauthenticated_connections",
            &self.max_unauthenticated_connections,
            &O::MAX_UNAUTHENTICATED_CONNECTIONS,
            &mut o.max_unauthenticated_connections,
        )?;
        set(
            "unauthenticated_connection_age",
            &self.unauthenticated_connection_age,
            &O::UNAUTHENTICATED_CONNECTION_AGE,
            &mut o.unauthenticated_connection_age,
        )?;
        set("handshake_timeout", &self.handshake_timeout, &O::HANDSHAKE_TIMEOUT, &mut o.handshake_timeout)?;
        set(
            "max_concurrent_streams",
            &self.max_concurrent_streams,
            &O::MAX_CONCURRENT_STREAMS,
            &mut o.max_concurrent_streams,
        )?;
        set(
            "max_header_list_size",
            &self.max_header_list_size,
            &O::MAX_HEADER_LIST_SIZE,
            &mut o.max_header_list_size,
        )?;
        set(
            "max_cancelled_calls",
            &self.max_cancelled_calls,
            &O::MAX_CANCELLED_CALLS,
            &mut o.max_cancelled_calls,
        )?;
        set(
            "max_connection_age",
            &self.max_connection_age,
            &O::MAX_CONNECTION_AGE,
            &mut o.max_connection_age,
        )?;
        set("max_chain_depth", &self.max_chain_depth, &O::MAX_CHAIN_DEPTH, &mut o.chain.max_depth)?;
        set(
            "max_certificate_bytes",
            &self.max_certificate_bytes,
            &O::MAX_CERTIFICATE_BYTES,
            &mut o.chain.max_certificate_bytes,
        )?;
        Ok(o)
    }
}

fn set<T: Readable>(
    key: &str,
    given: &Option<Scalar>,
    bounds: &Bounds<T>,
    into: &mut T,
) -> Result<(), ConfigFault> {
    if let Some(given) = given {
        *into = given.within(&format!("service.limits.{key}"), bounds)?;
    }
    Ok(())
}
