//! Where charges are posted: the seam to the ledger, and its gRPC side.

use std::future::Future;

use avouch_service::TracedChannel;
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::ledger::v1::{PostRequest, Posting};
use tonic::Status;

/// Takes postings; idempotent by posting ID.
pub trait Book: Clone + Send + Sync + 'static {
    /// Writes a posting. `Ok` means it is durable there.
    fn post(&self, posting: Posting) -> impl Future<Output = Result<(), Status>> + Send;
}

/// The ledger service.
#[derive(Clone, Debug)]
pub struct LedgerBook {
    client: LedgerClient<TracedChannel>,
}

impl LedgerBook {
    /// The ledger at the other end of `channel`.
    #[must_use]
    pub fn new(channel: TracedChannel) -> Self {
        Self { client: LedgerClient::new(channel) }
    }
}

impl Book for LedgerBook {
    async fn post(&self, posting: Posting) -> Result<(), Status> {
        self.client.clone().post(PostRequest { posting: Some(posting) }).await?;
        Ok(())
    }
}
