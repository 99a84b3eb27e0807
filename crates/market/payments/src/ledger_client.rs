//! The interface to the ledger service, to which charges are posted, and its gRPC implementation.

use std::future::Future;

use avouch_service::TracedChannel;
use market_api::ledger::v1::{PostRequest, Posting, ledger_client};
use tonic::Status;

/// A client of the ledger. Posting is idempotent by posting ID.
pub trait LedgerClient: Clone + Send + Sync + 'static {
    /// Posts to the ledger. `Ok` means that the posting is durable there.
    fn post(&self, posting: Posting) -> impl Future<Output = Result<(), Status>> + Send;
}

/// The client over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcLedgerClient {
    client: ledger_client::LedgerClient<TracedChannel>,
}

impl GrpcLedgerClient {
    /// A client of the ledger at the other end of `channel`.
    #[must_use]
    pub fn new(channel: TracedChannel) -> Self {
        Self { client: ledger_client::LedgerClient::new(channel) }
    }
}

impl LedgerClient for GrpcLedgerClient {
    async fn post(&self, posting: Posting) -> Result<(), Status> {
        self.client.clone().post(PostRequest { posting: Some(posting) }).await?;
        Ok(())
    }
}
