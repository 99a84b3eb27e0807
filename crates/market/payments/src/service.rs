//! The gRPC service: parses requests, asks the payments, answers. Authorization has happened before a request gets here.

use market_api::money::Currency;
use market_api::payments::v1::{
    ChargeRequest, ChargeResponse, ChargeState, GetCreditRequest, GetCreditResponse, payments_server,
};
use tonic::{Request, Response, Status};

use crate::{Charge, LedgerClient, Payments, PaymentsError, Receipt};

/// Serves [`Payments`] over gRPC.
#[derive(Clone, Debug)]
pub struct Service<L> {
    payments: Payments<L>,
}

impl<L: LedgerClient> Service<L> {
    /// The service on top of `payments`.
    #[must_use]
    pub fn new(payments: Payments<L>) -> Self {
        Self { payments }
    }
}

#[tonic::async_trait]
impl<L: LedgerClient> payments_server::Payments for Service<L> {
    #[tracing::instrument(skip_all, fields(key = request.get_ref().key, state))]
    async fn charge(&self, request: Request<ChargeRequest>) -> Result<Response<ChargeResponse>, Status> {
        let charge = Charge::try_from(request.into_inner())?;
        let posting_id = charge.posting_id()?.to_string();
        let response = match self.payments.charge(charge).await? {
            Receipt::Pending => response(ChargeState::Pending, posting_id, String::new()),
            Receipt::Posted => response(ChargeState::Posted, posting_id, String::new()),
            Receipt::Declined(detail) => response(ChargeState::Declined, String::new(), detail),
        };
        tracing::Span::current().record("state", response.state().as_str_name());
        Ok(Response::new(response))
    }

    #[tracing::instrument(skip_all, fields(customer_id = request.get_ref().customer_id))]
    async fn get_credit(
        &self,
        request: Request<GetCreditRequest>,
    ) -> Result<Response<GetCreditResponse>, Status> {
        let request = request.into_inner();
        let customer = request.customer_id.parse().map_err(PaymentsError::Id)?;
        let currency: Currency = request.currency.parse().map_err(PaymentsError::Money)?;
        let credit = self.payments.credit(customer, currency).await?;
        Ok(Response::new(GetCreditResponse {
            limit: Some(credit.limit.into()),
            used: Some(credit.used.into()),
        }))
    }
}

fn response(state: ChargeState, posting_id: String, decline_detail: String) -> ChargeResponse {
    ChargeResponse { state: state.into(), decline_detail, posting_id }
}
