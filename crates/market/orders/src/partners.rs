//! The inventory and the payments over gRPC, and what their answers mean for an order.
//!
//! Only an answer of the other service about the order itself decides anything. Everything else, a refusal of this
//! service's own identity included, leaves open what happened before it: the step is tried again.

use avouch_service::TracedChannel;
use market_api::ids::OrderId;
use market_api::inventory::v1::inventory_client::InventoryClient;
use market_api::inventory::v1::{
    CommitRequest, Line, ReleaseRequest, ReserveOutcome, ReserveRequest, ReserveResponse,
};
use market_api::payments::v1::payments_client::PaymentsClient;
use market_api::payments::v1::{ChargeRequest, ChargeResponse, ChargeState};
use tonic::{Code, Status};

use crate::{Downstream, Event, Order, Reason, Rejection, Trouble};

/// The two services an order needs.
#[derive(Clone, Debug)]
pub struct Partners {
    inventory: InventoryClient<TracedChannel>,
    payments: PaymentsClient<TracedChannel>,
}

impl Partners {
    /// The services at the other ends of two channels.
    #[must_use]
    pub fn new(inventory: TracedChannel, payments: TracedChannel) -> Self {
        Self { inventory: InventoryClient::new(inventory), payments: PaymentsClient::new(payments) }
    }
}

impl Downstream for Partners {
    async fn reserve(&self, order: &Order) -> Result<Event, Trouble> {
        let line = |line: &crate::Line| Line { sku: line.sku.to_string(), quantity: line.quantity };
        let lines = order.lines().iter().map(line).collect();
        let request = ReserveRequest { order_id: order.id().to_string(), lines };
        reserved(self.inventory.clone().reserve(request).await.map(tonic::Response::into_inner))
    }

    async fn charge(&self, order: &Order) -> Result<Event, Trouble> {
        let request = ChargeRequest {
            key: order.id().to_string(),
            customer_id: order.customer().to_string(),
            amount: Some(order.total().into()),
        };
        charged(self.payments.clone().charge(request).await.map(tonic::Response::into_inner))
    }

    async fn commit(&self, order: &OrderId) -> Result<Event, Trouble> {
        let request = CommitRequest { order_id: order.to_string() };
        let done = self.inventory.clone().commit(request).await;
        done.map(|_done| Event::Committed).map_err(|status| Trouble { step: "commit", status })
    }

    async fn release(&self, order: &OrderId) -> Result<Event, Trouble> {
        let request = ReleaseRequest { order_id: order.to_string() };
        let done = self.inventory.clone().release(request).await;
        done.map(|_done| Event::Released).map_err(|status| Trouble { step: "release", status })
    }
}

/// Whether a status is the service's verdict on the order: it was asked before under this ID, or is none of its.
fn is_verdict(status: &Status) -> bool {
    matches!(status.code(), Code::AlreadyExists | Code::FailedPrecondition | Code::InvalidArgument)
}

fn conflict(status: &Status) -> Rejection {
    Rejection { reason: Reason::Conflict, detail: status.message().to_owned() }
}

fn reserved(answer: Result<ReserveResponse, Status>) -> Result<Event, Trouble> {
    let trouble = |status| Trouble { step: "reserve", status };
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) if is_verdict(&status) => return Ok(Event::Refused(conflict(&status))),
        Err(status) => return Err(trouble(status)),
    };
    let short = |reason| Ok(Event::Refused(Rejection { reason, detail: answer.short_sku.clone() }));
    match answer.outcome() {
        ReserveOutcome::Held => Ok(Event::Held),
        ReserveOutcome::OutOfStock => short(Reason::OutOfStock),
        ReserveOutcome::UnknownSku => short(Reason::UnknownSku),
        ReserveOutcome::Unspecified => Err(trouble(Status::internal("an outcome that is not known here"))),
    }
}

fn charged(answer: Result<ChargeResponse, Status>) -> Result<Event, Trouble> {
    let trouble = |status| Trouble { step: "charge", status };
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) if is_verdict(&status) => return Ok(Event::Declined(conflict(&status))),
        Err(status) => return Err(trouble(status)),
    };
    match answer.state() {
        ChargeState::Posted => Ok(Event::Posted),
        ChargeState::Declined => {
            Ok(Event::Declined(Rejection { reason: Reason::PaymentDeclined, detail: answer.decline_detail }))
        }
        ChargeState::Pending => Err(trouble(Status::unavailable("the charge is not in the ledger yet"))),
        ChargeState::Unspecified => Err(trouble(Status::internal("a state that is not known here"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_this_service_and_lost_answers_decide_nothing() {
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Unknown,
            Code::Internal,
            Code::Cancelled,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::ResourceExhausted,
            Code::Unimplemented,
        ] {
            assert!(reserved(Err(Status::new(code, ""))).is_err(), "{code:?}");
            assert!(charged(Err(Status::new(code, ""))).is_err(), "{code:?}");
        }
    }

    #[test]
    fn a_verdict_on_the_order_rejects_it() {
        for code in [Code::AlreadyExists, Code::FailedPrecondition, Code::InvalidArgument] {
            let rejection = Rejection { reason: Reason::Conflict, detail: "used".to_owned() };
            assert_eq!(reserved(Err(Status::new(code, "used"))).unwrap(), Event::Refused(rejection.clone()));
            assert_eq!(charged(Err(Status::new(code, "used"))).unwrap(), Event::Declined(rejection));
        }
    }

    #[test]
    fn a_charge_that_the_ledger_does_not_have_is_not_posted() {
        let answer = |state: ChargeState| {
            charged(Ok(ChargeResponse { state: state.into(), ..ChargeResponse::default() }))
        };
        assert!(answer(ChargeState::Pending).is_err());
        assert!(answer(ChargeState::Unspecified).is_err());
        assert_eq!(answer(ChargeState::Posted).unwrap(), Event::Posted);
    }

    #[test]
    fn a_shortage_names_the_article() {
        let answer =
            ReserveResponse { outcome: ReserveOutcome::OutOfStock.into(), short_sku: "LAMP".to_owned() };
        let rejection = Rejection { reason: Reason::OutOfStock, detail: "LAMP".to_owned() };
        assert_eq!(reserved(Ok(answer)).unwrap(), Event::Refused(rejection));
        assert!(reserved(Ok(ReserveResponse::default())).is_err());
    }
}
