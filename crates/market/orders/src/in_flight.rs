//! One driver per order: the driver holds the order's claim, and a second one waits for the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use market_api::ids::OrderId;
use tokio::sync::{Notify, watch};

type Claims = HashMap<OrderId, watch::Receiver<()>>;

/// The orders that are being worked on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    claims: Arc<Mutex<Claims>>,
    /// Wakes the worker when a driver ends before its order is final.
    left: Arc<Notify>,
}

impl InFlight {
    /// Claims an order, or returns a way to wait for the driver that has it.
    pub(crate) fn claim(&self, order: &OrderId) -> Result<Claim, Busy> {
        let mut claims = self.lock();
        if let Some(ended) = claims.get(order) {
            return Err(Busy(ended.clone()));
        }
        let (ends, ended) = watch::channel(());
        claims.insert(order.clone(), ended);
        Ok(Claim { order: order.clone(), in_flight: self.clone(), finished: false, _ends: ends })
    }

    /// Waits until a driver has left an order unfinished.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Claims> {
        // A poisoned lock is ignored: the map is consistent between any two of its operations.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exclusive right to work on one order. It ends when dropped, also when a call is cancelled; an order that is not
/// finished by then is left to the worker.
#[derive(Debug)]
pub(crate) struct Claim {
    order: OrderId,
    in_flight: InFlight,
    finished: bool,
    /// Dropped with the claim, which wakes those who wait.
    _ends: watch::Sender<()>,
}

impl Claim {
    /// The claimed order.
    pub(crate) fn order(&self) -> &OrderId {
        &self.order
    }

    /// Notes that the order is final, so that the worker is not woken for it.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.order);
        if !self.finished {
            self.in_flight.left.notify_one();
        }
    }
}

/// Another driver works on the order.
#[derive(Debug)]
pub(crate) struct Busy(watch::Receiver<()>);

impl Busy {
    /// Waits until that driver has ended, in whatever way.
    pub(crate) async fn ended(mut self) {
        // No value is ever sent: the only change is that the sender is dropped.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> OrderId {
        "ord-1".parse().unwrap()
    }

    #[tokio::test]
    async fn an_order_has_one_driver_at_a_time() {
        let in_flight = InFlight::default();
        let claim = in_flight.claim(&order()).unwrap();
        let busy = in_flight.claim(&order()).unwrap_err();
        assert!(in_flight.claim(&"ord-2".parse().unwrap()).is_ok());
        drop(claim);
        busy.ended().await;
        assert!(in_flight.claim(&order()).is_ok());
    }

    #[tokio::test]
    async fn an_unfinished_order_wakes_the_worker_and_a_finished_one_does_not() {
        let in_flight = InFlight::default();
        drop(in_flight.claim(&order()).unwrap());
        in_flight.left().await;
        let mut claim = in_flight.claim(&order()).unwrap();
        claim.finish();
        drop(claim);
        let woken = tokio::time::timeout(std::time::Duration::from_millis(1), in_flight.left()).await;
        assert!(woken.is_err());
    }
}
