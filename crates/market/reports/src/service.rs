//! The gRPC service: answers from the totals. Authorization has happened before a request gets here.

use market_api::reports::v1::{
    CurrencySummary, CustomerSummary, GetSummaryRequest, GetSummaryResponse, reports_server,
};
use tonic::{Request, Response, Status};

use crate::summary::MAX_TOP;
use crate::{CurrencyTotal, CustomerTotal, FollowerStatus, ReportsError, Totals};

/// Serves [`Totals`] over gRPC.
#[derive(Clone, Debug)]
pub struct Service {
    totals: Totals,
    status: FollowerStatus,
}

impl Service {
    /// The service on top of `totals`.
    #[must_use]
    pub fn new(totals: Totals, status: FollowerStatus) -> Self {
        Self { totals, status }
    }
}

#[tonic::async_trait]
impl reports_server::Reports for Service {
    #[tracing::instrument(skip_all, fields(cursor))]
    async fn get_summary(
        &self,
        request: Request<GetSummaryRequest>,
    ) -> Result<Response<GetSummaryResponse>, Status> {
        let top = request.into_inner().top_customers;
        if top > MAX_TOP {
            return Err(ReportsError::TooMany.into());
        }
        let summary = self.totals.summary(top).await?;
        tracing::Span::current().record("cursor", summary.cursor);
        let currency = |total: CurrencyTotal| CurrencySummary {
            sales: Some(total.sales.into()),
            postings: total.postings,
        };
        let customer = |total: CustomerTotal| CustomerSummary {
            customer_id: total.customer.to_string(),
            spent: Some(total.spent.into()),
        };
        Ok(Response::new(GetSummaryResponse {
            currencies: summary.currencies.into_iter().map(currency).collect(),
            top_customers: summary.customers.into_iter().map(customer).collect(),
            cursor: summary.cursor,
            updated_at: summary.updated_at.map(Into::into),
            following: self.status.following(),
            streams_opened: self.status.opened(),
        }))
    }
}
