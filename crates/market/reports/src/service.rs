//! The gRPC face: answers from the sums. Who may call is settled before a request gets here.

use market_api::reports::v1::{
    CurrencySummary, CustomerSummary, GetSummaryRequest, GetSummaryResponse, reports_server,
};
use tonic::{Request, Response, Status};

use crate::{CurrencySum, CustomerSum, ReportsError, Standing, Sums};

/// The most customers that are named.
pub(crate) const MAX_TOP: u32 = 100;

/// Serves [`Sums`].
#[derive(Clone, Debug)]
pub struct Service {
    sums: Sums,
    standing: Standing,
}

impl Service {
    /// The service on top of `sums`.
    #[must_use]
    pub fn new(sums: Sums, standing: Standing) -> Self {
        Self { sums, standing }
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
        let summary = self.sums.summary(top).await?;
        tracing::Span::current().record("cursor", summary.cursor);
        let currency =
            |sum: CurrencySum| CurrencySummary { sales: Some(sum.sales.into()), postings: sum.postings };
        let customer = |sum: CustomerSum| CustomerSummary {
            customer_id: sum.customer.to_string(),
            spent: Some(sum.spent.into()),
        };
        Ok(Response::new(GetSummaryResponse {
            currencies: summary.currencies.into_iter().map(currency).collect(),
            top_customers: summary.customers.into_iter().map(customer).collect(),
            cursor: summary.cursor,
            updated_at: summary.updated_at.map(Into::into),
            following: self.standing.following(),
            streams_opened: self.standing.opened(),
        }))
    }
}
