//! The status of a call that the server itself ends, for layers that count calls and would otherwise only see its body
//! dropped.
//!
//! A stream whose connection retires gets its trailers here, outside of the service: the service and the layers around
//! it see their body dropped, as they do when the caller has left.

use std::cell::Cell;

use avouch_spiffe::Reason;
use tonic::Status;

thread_local! {
    static REASON: Cell<Option<Reason>> = const { Cell::new(None) };
}

/// The reason of the call that the server ends, and so drops on this thread at this moment; none when the caller has
/// left.
#[must_use]
pub fn ending_reason() -> Option<Reason> {
    REASON.get()
}

/// Drops something of a call that ends with `status`.
pub(crate) fn dropping<T>(status: &Status, drop: impl FnOnce() -> T) -> T {
    /// Resets the reason even if the drop panics, so that the next call on this thread does not see it.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            REASON.set(None);
        }
    }
    REASON.set(crate::reason(status));
    let _reset = Reset;
    drop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_there_while_it_is_dropped_and_gone_after_it_even_after_a_panic() {
        let retiring = crate::status(Reason::ConnectionRetiring, "the connection retires", []);
        assert_eq!(ending_reason(), None);
        assert_eq!(dropping(&retiring, ending_reason), Some(Reason::ConnectionRetiring));
        assert_eq!(ending_reason(), None);
        assert_eq!(dropping(&Status::deadline_exceeded("late"), ending_reason), None);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            dropping(&retiring, || panic!("in a drop"))
        }));
        assert!(panicked.is_err());
        assert_eq!(ending_reason(), None);
    }
}
