//! Keeps a channel connected: opens on demand, replaces before the end, backs off when it fails.
//!
//! A connection is replaced when the identity has a new SVID, before the certificates it was made with end, and before
//! the server retires it; the new one is open before the old one is let go, which then lets the calls under way finish.
//! Where the new one cannot be had, the old one stays in use as long as it lasts. Nothing reconnects while nobody calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::Dial;
use super::failure::ConnectFailure;
use super::http2_connection::Http2Connection;
use super::lifetime::Term;
use super::revocation_watch::RevocationWatch;
use super::shared::{Phase, Shared};
use crate::identity::Snapshot;
use crate::jitter;
use crate::move_delay::move_delay;
use crate::svid::Svid;
use crate::verify::Trust;

/// The pause after a first failure to connect; it doubles with each further one. Callers wait a second for a server that
/// cannot be reached, so a server that restarts is tried several times within that.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
/// The longest pause between failures to connect.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// The longest pause between attempts to replace a connection that is good for long: a server that does not take the new
/// SVID, because it has not heard of a new root yet, is not tried every few seconds.
const LONGEST_BACKOFF_WHILE_GOOD: Duration = Duration::from_secs(60);
/// A connection that ended sooner than this counts as a failed attempt: a server that accepts and closes at
/// once must not be connected to in a loop.
const SHORT_LIFE: Duration = Duration::from_millis(10);
/// The task of a channel; runs as long as the channel has handles.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = FIRST_BACKOFF;
    // This task may have died and begun again: then its connection is lost, and waiting calls have to demand one again.
    shared.connection.store(None);
    shared.phase.send_replace(Phase::Idle);
    loop {
        shared.demand.notified().await;
        // One demand may have been answered by the connection opened for another.
        if shared.open().is_some() {
            continue;
        }
        shared.phase.send_replace(Phase::Connecting);
        let mut next = match connect(&shared).await {
            Ok(opened) => Some(opened),
            Err(failure) => {
                failed(&shared, failure, &mut backoff).await;
                None
            }
        };
        while let Some(opened) = next {
            next = hold(&shared, opened, &mut backoff).await;
        }
    }
}

/// Publishes the failure to open a connection, and waits for the backoff.
async fn failed(shared: &Shared, failure: ConnectFailure, backoff: &mut Duration) {
    tracing::debug!(target = shared.authority.as_str(), reason = %failure.reason, "connection failed");
    shared.phase.send_replace(Phase::Down(Arc::new(failure)));
    rest(shared, backoff).await;
}

/// Waits for the backoff after a failure; then the next demand is answered again.
async fn rest(shared: &Shared, backoff: &mut Duration) {
    tokio::time::sleep(jitter::around(*backoff, 0.2)).await;
    *backoff = (*backoff * 2).min(LONGEST_BACKOFF);
    // Calls that still wait demand a connection again now.
    forget_demand(shared).await;
    shared.phase.send_replace(Phase::Idle);
}

/// Clears a demand whose callers have been answered already, so that it opens no connection.
async fn forget_demand(shared: &Shared) {
    tokio::select! {
        // The demand first, if there is one; the other arm is ready at once and only keeps this from waiting.
        biased;
        () = shared.demand.notified() => {}
        () = std::future::ready(()) => {}
    }
}

/// An open connection, and what it was opened with.
struct Opened {
    connection: Arc<Http2Connection>,
    svid: Arc<Svid>,
}

/// Gives a connection to the callers until it is gone or replaced: by the one returned.
async fn hold(shared: &Shared, opened: Opened, backoff: &mut Duration) -> Option<Opened> {
    // Before it is published: the call that demanded it counts as a use.
    shared.used.store(false, Ordering::Relaxed);
    shared.publish(opened.connection.clone());
    let connection = opened.connection.clone();
    let began = Instant::now();
    let end = ActiveConnection::new(shared, opened).end(*backoff).await;
    let short = began.elapsed() < SHORT_LIFE;
    if !short {
        *backoff = FIRST_BACKOFF;
    }
    match end {
        End::Replaced(next) => return Some(next),
        End::Gone if short => {
            // What this side ended itself, as for a revocation, says so.
            let ended = connection.attempt.ended();
            let failure = ended.unwrap_or_else(|| ConnectFailure::closed_at_once(&connection.attempt));
            shared.bad_addresses.remember(&failure);
            failed(shared, failure, backoff).await;
        }
        End::Failed(failure) => failed(shared, failure, backoff).await,
        End::Gone | End::Unused => {}
    }
    None
}

/// The end of a connection's use.
enum End {
    /// The connection closed, or a caller found it unusable.
    Gone,
    /// The connection was due to be replaced, but nobody uses the channel.
    Unused,
    /// The next connection is open.
    Replaced(Opened),
    /// The connection closed while the next one was being opened, and that failed.
    Failed(ConnectFailure),
}

/// One connection in use.
struct ActiveConnection<'a> {
    shared: &'a Shared,
    opened: Opened,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    term: watch::Receiver<Term>,
    /// The time of the move to a new SVID, once there is one.
    move_at: Option<Instant>,
}

impl<'a> ActiveConnection<'a> {
    fn new(shared: &'a Shared, opened: Opened) -> Self {
        let (snapshots, term) = (shared.identity.subscribe(), opened.connection.term());
        Self { shared, opened, snapshots, term, move_at: None }
    }

    /// Uses the connection until it is gone, or is due to be replaced and that has succeeded. `pause` goes before an
    /// attempt to replace a connection that has only just opened, and before the second attempt.
    async fn end(mut self, mut pause: Duration) -> End {
        let began = Instant::now();
        let mut not_before = began;
        loop {
            if !self.is_due(not_before).await {
                return End::Gone;
            }
            if !self.shared.used.load(Ordering::Relaxed) {
                // The demand is cleared before the connection is withdrawn: calls demand one only once there is none.
                forget_demand(self.shared).await;
                self.shared.withdraw(self.opened.connection.serial);
                return End::Unused;
            }
            if began.elapsed() >= SHORT_LIFE {
                match self.replace().await {
                    Ok(next) => return End::Replaced(next),
                    Err(failure) if self.is_gone() => return End::Failed(failure),
                    Err(failure) => tracing::debug!(
                        target = self.shared.authority.as_str(),
                        reason = %failure.reason,
                        "the connection could not be replaced yet and stays in use"
                    ),
                }
            }
            not_before = Instant::now() + jitter::around(pause, 0.2);
            let good = self.term.borrow().replace_at.saturating_duration_since(Instant::now());
            pause = (pause * 2).min((good / 4).clamp(LONGEST_BACKOFF, LONGEST_BACKOFF_WHILE_GOOD));
        }
    }

    /// Waits until the connection is due to be replaced, but not before `not_before`; false if it is gone sooner.
    async fn is_due(&mut self, not_before: Instant) -> bool {
        loop {
            let term = *self.term.borrow_and_update();
            let due = self.move_at.map_or(term.replace_at, |move_at| move_at.min(term.replace_at));
            tokio::select! {
                // In this order: a connection that is gone is not replaced, but opened again on demand.
                biased;
                () = gone(self.shared, &self.opened.connection) => return false,
                () = tokio::time::sleep_until(due.max(not_before)) => return true,
                // After a jump of the clock. Its sender ends with the connection.
                Ok(()) = self.term.changed() => {}
                () = renewed(&mut self.snapshots, &self.opened.svid), if self.move_at.is_none() => {
                    self.move_at = Some(Instant::now() + move_delay(term.end_at.saturating_duration_since(Instant::now())));
                }
            }
        }
    }

    /// Opens the next connection while this one is still in use.
    async fn replace(&self) -> Result<Opened, ConnectFailure> {
        let connecting = connect(self.shared);
        tokio::pin!(connecting);
        tokio::select! {
            // A finished attempt first: its connection can be used even if the old one has just closed.
            biased;
            outcome = &mut connecting => return outcome,
            () = gone(self.shared, &self.opened.connection) => {}
        }
        // Callers wait for this attempt to its end, as for a first one.
        self.shared.phase.send_replace(Phase::Connecting);
        connecting.await
    }

    fn is_gone(&self) -> bool {
        self.shared.open().is_none()
    }
}

/// Resolves when the connection has closed, or a caller has found it unusable; it is out of use then.
async fn gone(shared: &Shared, connection: &Http2Connection) {
    // The order does not matter: withdrawing a connection that a caller has withdrawn does nothing.
    tokio::select! {
        () = connection.closed() => shared.withdraw(connection.serial),
        () = shared.broken(connection.serial) => {}
    }
}

/// Resolves when the identity has another SVID. What it trusts may change without that: connections made by other bundles
/// stay.
async fn renewed(snapshots: &mut watch::Receiver<Arc<Snapshot>>, svid: &Svid) {
    let is_another = |snapshot: &Arc<Snapshot>| snapshot.svid.chain().first() != svid.chain().first();
    if snapshots.wait_for(is_another).await.is_err() {
        // The source has ended: there will be no other SVID.
        std::future::pending().await
    }
}

async fn connect(shared: &Shared) -> Result<Opened, ConnectFailure> {
    let snapshot = shared.identity.snapshot();
    let dial = Dial {
        address: &shared.address,
        svid: Some(&snapshot.svid),
        trust: Trust::Store(snapshot.trust.clone()),
        own_domain: Some(snapshot.svid.spiffe_id().trust_domain().clone()),
        filter: shared.expect.clone(),
        limits: shared.limits,
        clock: shared.identity.clock().clone(),
        difference: shared.identity.clock_difference(),
        timeout: shared.connect_timeout,
        binding: None,
        bad_addresses: &shared.bad_addresses,
        revocations: Some(RevocationWatch::new(&shared.identity, &snapshot)),
    };
    let connection = Arc::new(dial.connect(shared.keepalive).await?);
    Ok(Opened { connection, svid: snapshot.svid.clone() })
}
