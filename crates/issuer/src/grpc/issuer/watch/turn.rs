//! The turn of a stream to send a large update: few of them are on their way at once, so that a thousand workloads that come
//! back after an outage neither fill the memory nor keep deltas from the network.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// How long a large update that is not acknowledged keeps others waiting: longer than one takes to arrive anywhere.
const TURN: Duration = Duration::from_secs(2);

/// The turn of a stream to send a large update.
pub(super) enum Turn {
    /// Not asked for.
    None,
    /// Asked for. The wait is kept across the arms of the loop, and with it the place in the queue.
    Awaited(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    /// It has come.
    Come(Option<OwnedSemaphorePermit>),
    /// The update is on its way. The permit is given back when it is acknowledged, or after [`TURN`].
    Used(
        #[expect(dead_code, reason = "held to give the permit back when it is dropped")] AbortOnDropHandle<()>,
    ),
}

impl Turn {
    /// Asks for the turn where it is needed, and gives it back where it is not.
    pub(super) fn for_next(self, needed: bool, turns: &Arc<Semaphore>) -> Self {
        match self {
            Self::None if needed => {
                let turns = Arc::clone(turns);
                // Nobody closes the semaphore.
                Self::Awaited(Box::pin(async move { turns.acquire_owned().await.ok() }))
            }
            Self::Awaited(_) | Self::Come(_) if !needed => Self::None,
            turn => turn,
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    pub(super) fn has_come(&self) -> bool {
        matches!(self, Self::Come(_))
    }

    /// Waits for the turn.
    pub(super) async fn come(&mut self) {
        if let Self::Awaited(turn) = self {
            *self = Self::Come(turn.await);
        }
    }

    /// Something has been sent: a large update, if the turn had come.
    pub(super) fn used(self) -> Self {
        let Self::Come(permit) = self else { return self };
        let hold = async move {
            tokio::time::sleep(TURN).await;
            drop(permit);
        };
        Self::Used(AbortOnDropHandle::new(tokio::spawn(hold)))
    }

    /// Ends the turn once nothing is on its way any more.
    pub(super) fn after(self, awaits_answer: bool) -> Self {
        if matches!(self, Self::Used(_)) && !awaits_answer { Self::None } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn come(turns: &Arc<Semaphore>) -> Turn {
        let mut turn = Turn::None.for_next(true, turns);
        turn.come().await;
        assert!(turn.has_come());
        turn
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_answered_ends_after_a_while_and_one_that_is_ends_at_once() {
        let turns = Arc::new(Semaphore::new(2));
        let (one, two) = (come(&turns).await.used(), come(&turns).await.used());
        let mut third = Turn::None.for_next(true, &turns);
        assert!(tokio::time::timeout(TURN / 2, third.come()).await.is_err(), "two are on their way");
        // The wait is kept, and with it the place in the queue.
        let mut fourth = Turn::None.for_next(true, &turns);
        assert!(tokio::time::timeout(Duration::from_millis(1), fourth.come()).await.is_err());
        drop(one.after(true).after(false));
        tokio::time::timeout(TURN / 4, third.come()).await.unwrap();
        assert!(third.has_come());
        tokio::time::timeout(TURN, fourth.come()).await.unwrap();
        drop(two);
    }

    #[tokio::test]
    async fn one_that_is_not_needed_any_more_is_given_back() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = come(&turns).await;
        assert_eq!(turns.available_permits(), 0);
        let turn = turn.for_next(false, &turns);
        assert!(!turn.has_come() && !turn.is_awaited());
        assert_eq!(turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_small_update_takes_none() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Turn::None.for_next(false, &turns).used();
        assert!(!turn.is_awaited() && turns.available_permits() == 1);
    }
}
