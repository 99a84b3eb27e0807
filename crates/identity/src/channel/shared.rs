//! The state that the handles, the calls and the task of a channel share: settings, the open connection, and the demand
//! for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use avouch_spiffe::{HostPort, Reason};
use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::{Notify, watch};
use tonic::Status;

use super::addresses::BadAddresses;
use super::attempt::cut;
use super::failure::ConnectFailure;
use super::http2_connection::{Http2Connection, Keepalive};
use super::streaming::StreamingMethods;
use crate::filter::IdentityFilter;
use crate::identity::Identity;
use crate::verify::ChainLimits;

/// The phase of a channel's connection.
#[derive(Clone)]
pub(super) enum Phase {
    /// Idle: there is no connection, and nobody has asked for one.
    Idle,
    Connecting,
    Up,
    Down(Arc<ConnectFailure>),
}

/// The state that a channel's handles, calls and task share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) authority: Authority,
    pub(super) address: HostPort,
    pub(super) expect: IdentityFilter,
    pub(super) limits: ChainLimits,
    pub(super) default_timeout: Option<(Duration, HeaderValue)>,
    pub(super) connect_timeout: Duration,
    pub(super) ready_timeout: Duration,
    pub(super) keepalive: Keepalive,
    pub(super) streaming: StreamingMethods,
    pub(super) connection: ArcSwapOption<Http2Connection>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) demand: Notify,
    pub(super) used: AtomicBool,
    pub(super) bad_addresses: BadAddresses,
}

impl Shared {
    /// HOST:PORT, as it is written.
    pub(super) fn target(&self) -> String {
        self.address.to_string()
    }

    /// The open connection, for a call.
    pub(super) fn current(&self) -> Option<Arc<Http2Connection>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.open()
    }

    /// The open connection.
    pub(super) fn open(&self) -> Option<Arc<Http2Connection>> {
        self.connection.load_full().filter(|connection| !connection.is_closed())
    }

    pub(super) fn publish(&self, connection: Arc<Http2Connection>) {
        self.connection.store(Some(connection));
        self.phase.send_replace(Phase::Up);
    }

    /// Takes a connection out of use, if it is the current one.
    pub(super) fn withdraw(&self, serial: u64) {
        let current = self.connection.load();
        if current.as_ref().is_some_and(|connection| connection.serial == serial) {
            self.connection.compare_and_swap(&current, None);
            self.phase.send_replace(Phase::Idle);
        }
    }

    /// Resolves when a caller has found the connection unusable.
    pub(super) async fn broken(&self, serial: u64) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`.
        let _ = phase
            .wait_for(|_| {
                self.connection.load().as_ref().is_none_or(|connection| connection.serial != serial)
            })
            .await;
    }

    /// Waits for a connection other than `dead`.
    pub(super) async fn next_connection(&self, dead: Option<u64>) -> Result<Arc<Http2Connection>, Status> {
        if let Some(serial) = dead {
            self.withdraw(serial);
        }
        let mut phase = self.phase.subscribe();
        let deadline = tokio::time::Instant::now() + self.ready_timeout;
        let mut failure: Option<Arc<ConnectFailure>> = None;
        loop {
            // Marked as seen before the connection is read: one that is published in between still wakes this call.
            let seen = phase.borrow_and_update().clone();
            if let Some(connection) = self.current() {
                return Ok(connection);
            }
            let connecting = matches!(seen, Phase::Connecting);
            if let Phase::Down(down) = seen {
                if !down.is_retryable() {
                    // A caller that calls in a loop must not starve the channel's task.
                    tokio::task::yield_now().await;
                    return Err(down.to_status());
                }
                failure = Some(down);
            }
            self.demand.notify_one();
            let changed = match &failure {
                // Under way and not failed yet: it ends by itself.
                None if connecting => phase.changed().await,
                _ => match tokio::time::timeout_at(deadline, phase.changed()).await {
                    Ok(changed) => changed,
                    Err(_elapsed) => return Err(self.not_ready_in_time(failure.as_deref())),
                },
            };
            if changed.is_err() {
                return Err(Status::unavailable("the channel is closed"));
            }
        }
    }

    fn not_ready_in_time(&self, failure: Option<&ConnectFailure>) -> Status {
        match failure {
            Some(failure) => failure.to_status(),
            None => {
                let (target, expected) = (self.target(), cut(&self.expect.to_string()));
                let said =
                    self.bad_addresses.said().map(|said| format!("; so far: {said}")).unwrap_or_default();
                let message = format!(
                    "no connection to {expected} at {target} within {:?}{said}; step by step: `avouch handshake \
                     {target}`; who serves and who does not: `avouch check`",
                    self.ready_timeout
                );
                crate::status::status(Reason::HandshakeTimeout, message, [("target", target)])
            }
        }
    }
}
