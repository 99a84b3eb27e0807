//! The shutdown of one connection: who asked for it, why, and how far it has come.
//!
//! Everything that ends a connection goes through a [`ConnectionShutdown`]: retirement, limits, misbehaviour, a
//! certificate that has expired. A call compares one atomic; the one task that drives the connection waits for the next
//! stage and carries it out. Stages are only ever raised, so two causes cannot undo each other.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use avouch_spiffe::Reason;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tonic::Status;

/// The stages of a connection's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The connection is in use: new calls may start.
    Open,
    /// The peer is asked to go away (GOAWAY); calls under way finish, streams included.
    Retiring,
    /// Streams still open end with the cause as their status; calls that have not been answered yet go on.
    StreamsEnd,
    /// All open calls end with the cause as their status, and the connection is closed once that is sent.
    Ended,
    /// The connection is closed without sending anything more to the peer.
    Cut,
}

impl Stage {
    fn of(value: u8) -> Self {
        match value {
            0 => Self::Open,
            1 => Self::Retiring,
            2 => Self::StreamsEnd,
            3 => Self::Ended,
            _ => Self::Cut,
        }
    }
}

/// The cause of a connection's shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// The shutdown of one connection, shared by its calls, its socket and its driver.
#[derive(Debug)]
pub(crate) struct ConnectionShutdown {
    stage: AtomicU8,
    cause: Mutex<Option<Cause>>,
    raised: Arc<Notify>,
}

impl Default for ConnectionShutdown {
    fn default() -> Self {
        Self { stage: AtomicU8::new(Stage::Open as u8), cause: Mutex::new(None), raised: Arc::default() }
    }
}

impl ConnectionShutdown {
    /// The stage that the shutdown has reached.
    pub(crate) fn stage(&self) -> Stage {
        Stage::of(self.stage.load(Ordering::Acquire))
    }

    /// Retires the connection without a cause that is reported: for its age, a drain, a certificate that is about to
    /// end.
    pub(crate) fn retire(&self) {
        self.raise(Stage::Retiring, None);
    }

    /// Retires the connection because of `reason`.
    pub(crate) fn retire_because(&self, reason: Reason, detail: impl Into<String>) {
        self.raise(Stage::Retiring, Some(Cause { reason, detail: detail.into() }));
    }

    /// Ends the streams that are still open.
    pub(crate) fn end_streams(&self) {
        self.raise(Stage::StreamsEnd, None);
    }

    /// Ends everything on the connection with `reason` as the status, and the connection.
    pub(crate) fn end(&self, reason: Reason, detail: impl Into<String>) {
        self.raise(Stage::Ended, Some(Cause { reason, detail: detail.into() }));
    }

    /// Closes the connection at once.
    pub(crate) fn cut(&self, reason: Reason, detail: impl Into<String>) {
        self.raise(Stage::Cut, Some(Cause { reason, detail: detail.into() }));
    }

    fn raise(&self, stage: Stage, cause: Option<Cause>) {
        let mut kept = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stage() >= stage {
            return;
        }
        // The cause of the furthest stage is the one that counts; a stage without one keeps the cause it came from.
        if cause.is_some() {
            *kept = cause;
        }
        // After the cause, so that a task that sees the stage finds the cause. Under the lock, so that of two
        // concurrent raises the later stage wins.
        self.stage.store(stage as u8, Ordering::Release);
        drop(kept);
        self.raised.notify_waiters();
    }

    /// Resolves when the shutdown has reached `stage`.
    pub(crate) async fn reached(&self, stage: Stage) {
        loop {
            let raised = self.raised.notified();
            tokio::pin!(raised);
            // Enabled before the stage is read: a stage that is raised in between still wakes this task.
            raised.as_mut().enable();
            if self.stage() >= stage {
                return;
            }
            raised.await;
        }
    }

    /// Polls for `stage`, without a future that borrows or allocates: `wait` is the caller's, and begins as none.
    pub(crate) fn poll_reached(
        &self,
        stage: Stage,
        mut wait: Pin<&mut Option<OwnedNotified>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if wait.is_none() {
                // Made before the stage is read: a stage that is raised in between still wakes this task.
                wait.set(Some(self.raised.clone().notified_owned()));
            }
            if self.stage() >= stage {
                wait.set(None);
                return Poll::Ready(());
            }
            if let Some(raised) = wait.as_mut().as_pin_mut() {
                ready!(raised.poll(cx));
            }
            wait.set(None);
        }
    }

    /// Resolves with the stage when it is beyond `stage`.
    pub(crate) async fn beyond(&self, stage: Stage) -> Stage {
        loop {
            let raised = self.raised.notified();
            tokio::pin!(raised);
            raised.as_mut().enable();
            let now = self.stage();
            if now > stage {
                return now;
            }
            raised.await;
        }
    }

    /// The cause of the shutdown; none where the connection ends by age, drain or the end of a certificate.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The status of a call or a stream that ends with the connection.
    pub(crate) fn status(&self) -> Status {
        match self.cause() {
            Some(Cause { reason, detail }) => {
                crate::status::status(reason, format!("{reason}: the connection is closed: {detail}"), [])
            }
            None => {
                let message = "the connection retires; continue the stream on a new one";
                crate::status::status(Reason::ConnectionRetiring, message, [])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn stages_are_only_raised_and_the_furthest_cause_counts() {
        let shutdown = ConnectionShutdown::default();
        assert_eq!((shutdown.stage(), shutdown.cause()), (Stage::Open, None));
        shutdown.retire_because(Reason::HandshakeLimit, "made room");
        shutdown.retire();
        shutdown.end_streams();
        assert_eq!(shutdown.stage(), Stage::StreamsEnd);
        assert_eq!(shutdown.cause().unwrap().reason, Reason::HandshakeLimit);
        shutdown.cut(Reason::RateLimited, "abuse");
        shutdown.end(Reason::CertExpired, "too late");
        shutdown.retire_because(Reason::HandshakeLimit, "too late");
        assert_eq!((shutdown.stage(), shutdown.cause().unwrap().reason), (Stage::Cut, Reason::RateLimited));
    }

    #[test]
    fn a_stream_that_ends_with_its_connection_says_why() {
        let shutdown = ConnectionShutdown::default();
        shutdown.end_streams();
        assert_eq!(crate::status::reason(&shutdown.status()), Some(Reason::ConnectionRetiring));
        shutdown.end(Reason::CertExpired, "the certificate of x ended");
        assert_eq!(crate::status::reason(&shutdown.status()), Some(Reason::CertExpired));
        assert!(shutdown.status().message().contains("the certificate of x ended"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_the_stage_and_of_those_beyond() {
        let shutdown = Arc::new(ConnectionShutdown::default());
        let wait = |stage| {
            let shutdown = shutdown.clone();
            tokio::spawn(async move { shutdown.reached(stage).await })
        };
        let (retiring, streams, cut) = (wait(Stage::Retiring), wait(Stage::StreamsEnd), wait(Stage::Cut));
        tokio::time::sleep(Duration::from_millis(1)).await;
        shutdown.end(Reason::CertExpired, "over");
        retiring.await.unwrap();
        streams.await.unwrap();
        assert!(!cut.is_finished());
        assert_eq!(shutdown.beyond(Stage::Open).await, Stage::Ended);
        shutdown.cut(Reason::RateLimited, "abuse");
        cut.await.unwrap();
        shutdown.reached(Stage::Cut).await;
    }
}
