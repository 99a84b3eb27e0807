//! The state machine of an order, pure: the next step of a state, and the next state after an event.
//!
//! ```text
//! received --held--> reserved --posted--> charged --committed--> completed
//!     |                  |
//!  refused            declined
//!     v                  v
//! rejected <-released- releasing
//! ```

use market_api::orders::v1::{OrderState, RejectReason};

/// The reason for a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not enough of an article is left.
    OutOfStock,
    /// No such article.
    UnknownSku,
    /// The customer's credit does not cover it.
    PaymentDeclined,
    /// The order's ID was already used for something else at the inventory or the payments.
    Conflict,
}

impl Reason {
    const ALL: [Self; 4] = [Self::OutOfStock, Self::UnknownSku, Self::PaymentDeclined, Self::Conflict];

    /// The name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "out-of-stock",
            Self::UnknownSku => "unknown-sku",
            Self::PaymentDeclined => "payment-declined",
            Self::Conflict => "conflict",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl From<Reason> for RejectReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::OutOfStock => Self::OutOfStock,
            Reason::UnknownSku => Self::UnknownSku,
            Reason::PaymentDeclined => Self::PaymentDeclined,
            Reason::Conflict => Self::Conflict,
        }
    }
}

/// The reason for a rejection, with details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: Reason,
    /// The details, as text.
    pub detail: String,
}

/// The state of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Durable; nothing has happened.
    Received,
    /// The stock is held.
    Reserved,
    /// The charge is in the ledger.
    Charged,
    /// Final: the pieces have left the stock.
    Completed,
    /// Rejected; the held stock has to be given back.
    Releasing(Rejection),
    /// Final: rejected, nothing is held.
    Rejected(Rejection),
}

/// A step of an order; each is idempotent by order ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold the stock.
    Reserve,
    /// Charge the customer.
    Charge,
    /// Commit the reservation, so that the pieces leave the stock.
    Commit,
    /// Release the reservation.
    Release,
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of [`Step::Reserve`]: everything is held.
    Held,
    /// Of [`Step::Reserve`]: nothing is held, and never will be.
    Refused(Rejection),
    /// Of [`Step::Charge`]: in the ledger.
    Posted,
    /// Of [`Step::Charge`]: nothing is charged, and never will be.
    Declined(Rejection),
    /// Of [`Step::Commit`].
    Committed,
    /// Of [`Step::Release`].
    Released,
}

/// An event that cannot happen in a state: a bug in this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot follow {state}")]
pub struct IllegalEvent {
    state: &'static str,
    event: Event,
}

impl State {
    /// The next step in this state; `None` when it is final.
    #[must_use]
    pub const fn next(&self) -> Option<Step> {
        match self {
            Self::Received => Some(Step::Reserve),
            Self::Reserved => Some(Step::Charge),
            Self::Charged => Some(Step::Commit),
            Self::Releasing(_) => Some(Step::Release),
            Self::Completed | Self::Rejected(_) => None,
        }
    }

    /// Whether the state is final.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.next().is_none()
    }

    /// The state after an event.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event does not belong to this state's step.
    pub fn after(&self, event: Event) -> Result<Self, IllegalEvent> {
        match (self, event) {
            (Self::Received, Event::Held) => Ok(Self::Reserved),
            (Self::Received, Event::Refused(rejection)) => Ok(Self::Rejected(rejection)),
            (Self::Reserved, Event::Posted) => Ok(Self::Charged),
            (Self::Reserved, Event::Declined(rejection)) => Ok(Self::Releasing(rejection)),
            (Self::Charged, Event::Committed) => Ok(Self::Completed),
            (Self::Releasing(rejection), Event::Released) => Ok(Self::Rejected(rejection.clone())),
            (state, event) => Err(IllegalEvent { state: state.name(), event }),
        }
    }

    /// The name in the store.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Reserved => "reserved",
            Self::Charged => "charged",
            Self::Completed => "completed",
            Self::Releasing(_) => "releasing",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The rejection, if the order is being or has been rejected.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Releasing(rejection) | Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }

    /// The reverse of [`Self::name`] and [`Self::rejection`]; `None` for what the store never writes.
    pub(crate) fn from_parts(name: &str, rejection: Option<Rejection>) -> Option<Self> {
        match (name, rejection) {
            ("received", None) => Some(Self::Received),
            ("reserved", None) => Some(Self::Reserved),
            ("charged", None) => Some(Self::Charged),
            ("completed", None) => Some(Self::Completed),
            ("releasing", Some(rejection)) => Some(Self::Releasing(rejection)),
            ("rejected", Some(rejection)) => Some(Self::Rejected(rejection)),
            _ => None,
        }
    }
}

impl From<&State> for OrderState {
    fn from(state: &State) -> Self {
        match state {
            State::Received => Self::Received,
            State::Reserved => Self::Reserved,
            State::Charged => Self::Charged,
            State::Completed => Self::Completed,
            State::Releasing(_) => Self::Releasing,
            State::Rejected(_) => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection() -> Rejection {
        Rejection { reason: Reason::OutOfStock, detail: "LAMP".to_owned() }
    }

    fn states() -> [State; 6] {
        [
            State::Received,
            State::Reserved,
            State::Charged,
            State::Completed,
            State::Releasing(rejection()),
            State::Rejected(rejection()),
        ]
    }

    fn events() -> [Event; 6] {
        [
            Event::Held,
            Event::Refused(rejection()),
            Event::Posted,
            Event::Declined(rejection()),
            Event::Committed,
            Event::Released,
        ]
    }

    #[test]
    fn exactly_the_drawn_transitions_exist() {
        let mut drawn = Vec::new();
        for state in states() {
            for event in events() {
                if let Ok(next) = state.after(event) {
                    drawn.push((state.name(), next.name()));
                }
            }
        }
        let expected = [
            ("received", "reserved"),
            ("received", "rejected"),
            ("reserved", "charged"),
            ("reserved", "releasing"),
            ("charged", "completed"),
            ("releasing", "rejected"),
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_final_state_takes_no_event() {
        for state in states().iter().filter(|state| state.is_final()) {
            assert!(events().into_iter().all(|event| state.after(event).is_err()));
        }
    }

    #[test]
    fn a_rejection_keeps_its_reason_through_the_release() {
        let releasing = State::Reserved.after(Event::Declined(rejection())).unwrap();
        assert_eq!(releasing.after(Event::Released).unwrap().rejection(), Some(&rejection()));
    }

    #[test]
    fn every_state_survives_the_store() {
        for state in states() {
            assert_eq!(State::from_parts(state.name(), state.rejection().cloned()), Some(state));
        }
        assert_eq!(State::from_parts("rejected", None), None);
        assert_eq!(State::from_parts("completed", Some(rejection())), None);
        assert_eq!(State::from_parts("lost", None), None);
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
    }
}
