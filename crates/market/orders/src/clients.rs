//! The clients of the inventory and the payments, and what their answers mean for an order.
//!
//! Only a status about the order itself decides a step. After any other failure, a denial of this service's own
//! identity included, it is unknown whether the step was carried out, so it is retried.

use avouch_service::TracedChannel;
use market_api::ids::OrderId;
use market_api::inventory::v1::inventory_client::InventoryClient;
use market_api::inventory::v1::{
    CommitRequest, Line, ReleaseRequest, ReserveOutcome, ReserveRequest, ReserveResponse,
};
use market_api::payments::v1::payments_client::PaymentsClient;
use market_api::payments::v1::{ChargeRequest, ChargeResponse, ChargeState};
use tonic::{Code, Status};

use crate::{Downstream, Event, Order, Reason, Rejection, TransientError};

/// The gRPC clients of the two services that an order needs.
#[derive(Clone, Debug)]
pub struct Clients {
    inventory: InventoryClient<TracedChannel>,
    payments: PaymentsClient<TracedChannel>,
}

impl Clients {
    /// Clients of the services at the other ends of two channels.
    #[must_use]
    pub fn new(inventory: TracedChannel, payments: TracedChannel) -> Self {
        Self { inventory: InventoryClient::new(inventory), payments: PaymentsClient::new(payments) }
    }
}

impl Downstream for Clients {
    async fn reserve(&self, order: &Order) -> Result<Event, TransientError> {
        let line = |line: &crate::Line| Line { sku: line.sku.to_string(), quantity: line.quantity };
        let lines = order.lines().iter().map(line).collect();
        let request = ReserveRequest { order_id: order.id().to_string(), lines };
        reserved(self.inventory.clone().reserve(request).await.map(tonic::Response::into_inner))
    }

    async fn charge(&self, order: &Order) -> Result<Event, TransientError> {
        let request = ChargeRequest {
            key: order.id().to_string(),
            customer_id: order.customer().to_string(),
            amount: Some(order.total().into()),
        };
        charged(self.payments.clone().charge(request).await.map(tonic::Response::into_inner))
    }

    async fn commit(&self, order: &OrderId) -> Result<Event, TransientError> {
        let request = CommitRequest { order_id: order.to_string() };
        let done = self.inventory.clone().commit(request).await;
        done.map(|_done| Event::Committed).map_err(|status| TransientError { step: "commit", status })
    }

    async fn release(&self, order: &OrderId) -> Result<Event, TransientError> {
        let request = ReleaseRequest { order_id: order.to_string() };
        let done = self.inventory.clone().release(request).await;
        done.map(|_done| Event::Released).map_err(|status| TransientError { step: "release", status })
    }
}

/// Whether a status is about the order itself: its ID was used for another request, or the request is invalid.
fn is_verdict(status: &Status) -> bool {
    matches!(status.code(), Code::AlreadyExists | Code::FailedPrecondition | Code::InvalidArgument)
}

fn conflict(status: &Status) -> Rejection {
    Rejection { reason: Reason::Conflict, detail: status.message().to_owned() }
}

fn reserved(answer: Result<ReserveResponse, Status>) -> Result<Event, TransientError> {
    let error = |status| TransientError { step: "reserve", status };
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) if is_verdict(&status) => return Ok(Event::Refused(conflict(&status))),
        Err(status) => return Err(error(status)),
    };
    let short = |reason| Ok(Event::Refused(Rejection { reason, detail: answer.short_sku.clone() }));
    match answer.outcome() {
        ReserveOutcome::Held => Ok(Event::Held),
        ReserveOutcome::OutOfStock => short(Reason::OutOfStock),
        ReserveOutcome::UnknownSku => short(Reason::UnknownSku),
        ReserveOutcome::Unspecified => Err(error(Status::internal("unknown outcome"))),
    }
}

fn charged(answer: Result<ChargeResponse, Status>) -> Result<Event, TransientError> {
    let error = |status| TransientError { step: "charge", status };
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) if is_verdict(&status) => return Ok(Event::Declined(conflict(&status))),
        Err(status) => return Err(error(status)),
    };
    match answer.state() {
        ChargeState::Posted => Ok(Event::Posted),
        ChargeState::Declined => {
            Ok(Event::Declined(Rejection { reason: Reason::PaymentDeclined, detail: answer.decline_detail }))
        }
        ChargeState::Pending => Err(error(Status::unavailable("the charge is not in the ledger yet"))),
        ChargeState::Unspecified => Err(error(Status::internal("unknown state"))),
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
