//! The driver of one connection: carries out each stage of its shutdown.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use avouch_limits::Network;
use avouch_spiffe::Reason;
use avouch_text::with_causes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lifetime::Lifetime;
use super::shared::Signals;
use super::state::ConnectionState;
use crate::connection_shutdown::{Cause, Stage};
use crate::listen::Slot;
use crate::move_delay::move_delay;
use crate::record::{ConnectionClosed, ConnectionEnd, ConnectionId};
use crate::verify::check_revoked;

/// The time that a connection that has ended may take to flush the final statuses of its streams: one write, and one poll
/// of each stream.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// The time that a displaced connection may take to go when no call is under way.
const MAKING_ROOM: Duration = Duration::from_secs(1);

/// The driver of a connection: everything that may end it.
pub(super) struct Driver<'a> {
    pub(super) state: &'a ConnectionState,
    pub(super) slot: Option<Slot<Network>>,
    pub(super) lifetime: Lifetime,
    pub(super) signals: watch::Receiver<Signals>,
    /// The generation of the snapshot by which the peer was last judged.
    pub(super) judged_by: u64,
    /// The generation with which the own SVID came that the connection was made with.
    pub(super) svid_since: u64,
}

impl Driver<'_> {
    /// Drives a connection to its end: its own, or the one that is asked for. It comes in a box: this future would keep
    /// room for it twice, as its argument and where it is polled.
    pub(super) async fn drive<C>(mut self, mut connection: Pin<Box<C>>, retire: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let id = self.state.info.id;
        let mut stage = Stage::Open;
        let mut is_served = true;
        if self.signals.borrow_and_update().draining {
            self.state.shutdown.retire();
        }
        // A snapshot that came during the handshake gives no signal any more.
        self.follow_identity();
        let mut due = self.lifetime.retire_at;
        loop {
            tokio::select! {
                biased;
                // First: a peer that keeps its connection busy must not keep the end from being seen.
                next = self.state.shutdown.beyond(stage) => {
                    if next == Stage::Cut {
                        break;
                    }
                    if stage == Stage::Open {
                        retire(connection.as_mut());
                    }
                    stage = next;
                    due = self.due(stage);
                }
                // Before the connection itself, as everything that ends it: hyper has always more to do for a busy peer.
                () = evicted(self.slot.as_ref()) => {
                    self.state.shutdown.cut(Reason::HandshakeLimit, "made room for another without identity");
                }
                signalled = self.signals.changed(), if is_served => {
                    is_served = signalled.is_ok();
                    // An error means that the server was dropped: it counts as draining.
                    if !is_served || self.signals.borrow_and_update().draining {
                        self.state.shutdown.retire();
                    }
                    due = self.judge_again(stage, due);
                }
                result = connection.as_mut() => {
                    ended(id, result);
                    break;
                }
                () = tokio::time::sleep_until(due) => match stage {
                    Stage::Open => self.state.shutdown.retire(),
                    Stage::Retiring => self.state.shutdown.end_streams(),
                    Stage::StreamsEnd | Stage::Ended | Stage::Cut => {
                        self.overdue(stage);
                        break;
                    }
                },
            }
        }
        self.tell();
    }

    /// The time at which the next stage follows, if nothing else ends the connection before.
    fn due(&self, stage: Stage) -> Instant {
        let now = Instant::now();
        let left = self.lifetime.end_at.saturating_duration_since(now);
        let grace = self.state.shared.options.retirement_grace;
        match stage {
            Stage::Open => self.lifetime.retire_at,
            Stage::Retiring if self.makes_room() => now + MAKING_ROOM.min(grace).min(left) / 2,
            Stage::Retiring | Stage::StreamsEnd => now + grace.min(left) / 2,
            Stage::Ended | Stage::Cut => now + LAST_WORDS,
        }
    }

    /// Whether it was displaced, and is idle.
    fn makes_room(&self) -> bool {
        let is_displaced =
            self.state.shutdown.cause().is_some_and(|cause| cause.reason == Reason::HandshakeLimit);
        is_displaced && self.state.share.is_idle()
    }

    /// Judges the certificates again, after a signal: the clock has jumped, the identity has changed, or the server drains.
    fn judge_again(&mut self, stage: Stage, due: Instant) -> Instant {
        self.follow_identity();
        match self.lifetime.after_jump(self.state.shared.identity.clock().now()) {
            Ok(()) if stage == Stage::Open => self.lifetime.retire_at,
            Ok(()) => due.min(self.lifetime.end_at),
            Err(Cause { reason, detail }) => {
                self.state.shutdown.end(reason, detail);
                due
            }
        }
    }

    /// Judges the peer by the identity's latest snapshot, and retires the connection soon if it was made with an older SVID.
    fn follow_identity(&mut self) {
        let identity = &self.state.shared.identity;
        let snapshot = identity.snapshot();
        if snapshot.generation == self.judged_by {
            return;
        }
        self.judged_by = snapshot.generation;
        if let Some(peer) = self.state.peer.as_deref()
            && let Err(rejection) = check_revoked(&snapshot.trust, peer)
        {
            identity.count_accepted_ended();
            return self.state.shutdown.end(rejection.reason(), rejection.detail());
        }
        if snapshot.svid_since != self.svid_since {
            self.svid_since = snapshot.svid_since;
            let now = Instant::now();
            let left = self.lifetime.end_at.saturating_duration_since(now);
            self.lifetime.retire_at = self.lifetime.retire_at.min(now + move_delay(left));
        }
    }

    /// The hard end.
    fn overdue(&self, stage: Stage) {
        // Only at this stage the grace has run out; an ended connection had another cause.
        if stage == Stage::StreamsEnd {
            self.state.shared.cut.fetch_add(1, Ordering::Relaxed);
            if self.state.peer.is_some() {
                tracing::info!(connection_id = %self.state.info.id, "connection closed at the end of its grace");
            }
        }
    }

    /// Tells of the end.
    fn tell(&self) {
        let cause = self.state.shutdown.cause().map(|Cause { reason, detail }| (reason, detail));
        if let Some((reason, detail)) = &cause {
            self.state.shared.ended(&ConnectionEnd {
                id: self.state.info.id,
                peer_addr: self.state.info.peer_addr,
                peer_id: self.state.peer_id().cloned(),
                reason: *reason,
                detail: detail.clone(),
            });
        }
        let at = self.state.shared.identity.clock().now();
        self.state.shared.closed(&ConnectionClosed { id: self.state.info.id, at, cause });
    }
}

async fn evicted(slot: Option<&Slot<Network>>) {
    match slot {
        Some(slot) => slot.evicted().await,
        None => std::future::pending().await,
    }
}

fn ended(id: ConnectionId, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(connection_id = %id, error = %with_causes(&error), "connection ended");
    }
}
