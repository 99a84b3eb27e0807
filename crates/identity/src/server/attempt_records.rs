//! The record of each connection attempt, accepted or rejected.

use std::net::SocketAddr;
use std::time::Instant;

use avouch_spiffe::PeerIdentity;
use tokio::net::TcpStream;

use super::handshake::Rejected;
use super::shared::Shared;
use crate::record::{ConnectionId, ConnectionInfo, ConnectionRecord, Presented, Verdict};

/// One connection attempt, as its record names it.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) id: ConnectionId,
    pub(super) began: Instant,
    pub(super) peer_addr: SocketAddr,
    pub(super) local_addr: Option<SocketAddr>,
}

impl Attempt {
    /// An attempt that begins now.
    pub(super) fn begin(tcp: &TcpStream, peer_addr: SocketAddr) -> Self {
        Self { id: ConnectionId::next(), began: Instant::now(), peer_addr, local_addr: tcp.local_addr().ok() }
    }

    /// Records that the connection was accepted.
    pub(super) fn accepted(&self, shared: &Shared, info: &ConnectionInfo, peer: Option<&PeerIdentity>) {
        let record = ConnectionRecord {
            id: info.id,
            at: shared.identity.clock().now(),
            peer_addr: info.peer_addr,
            local_addr: Some(info.local_addr),
            peer_id: peer.map(|peer| peer.spiffe_id().clone()),
            peer_serial: peer.map(|peer| peer.serial().to_owned()),
            presented: peer.map(Presented::from),
            verdict: Verdict::Accepted,
            reason: None,
            detail: None,
            tls_version: Some(info.tls_version),
            cipher: Some(info.cipher.clone()),
            group: Some(info.group.clone()),
            handshake: self.began.elapsed(),
            bundle_sequence: shared.bundle_sequence(),
        };
        shared.record(&record);
    }

    /// Records that the connection was rejected.
    pub(super) fn rejected(&self, shared: &Shared, rejected: &Rejected) {
        let Rejected { rejection, tls_version, tls, .. } = rejected;
        let record = ConnectionRecord {
            id: self.id,
            at: shared.identity.clock().now(),
            peer_addr: self.peer_addr,
            local_addr: self.local_addr,
            peer_id: rejection.peer().map(|peer| peer.spiffe_id().clone()),
            peer_serial: rejection.peer().map(|peer| peer.serial().to_owned()),
            presented: rejection.presented().cloned(),
            verdict: Verdict::Refused,
            reason: Some(rejection.reason()),
            detail: Some(rejection.detail().to_owned()),
            tls_version: *tls_version,
            cipher: tls.as_ref().map(|tls| tls.suite.clone()),
            group: tls.as_ref().map(|tls| tls.group.clone()),
            handshake: self.began.elapsed(),
            bundle_sequence: shared.bundle_sequence(),
        };
        shared.record(&record);
    }
}
