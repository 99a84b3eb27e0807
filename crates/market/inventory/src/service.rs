//! The gRPC service: parses requests, asks the inventory, answers. Authorization has happened before a request gets here.

use market_api::ids::OrderId;
use market_api::inventory::v1::{
    CommitRequest, CommitResponse, GetStockRequest, GetStockResponse, ReleaseRequest, ReleaseResponse,
    ReserveOutcome, ReserveRequest, ReserveResponse, inventory_server,
};
use tonic::{Request, Response, Status};

use crate::{Inventory, InventoryError, Lines, ReservationOutcome};

/// Serves an [`Inventory`] over gRPC.
#[derive(Clone, Debug)]
pub struct Service {
    inventory: Inventory,
}

impl Service {
    /// The service on top of `inventory`.
    #[must_use]
    pub fn new(inventory: Inventory) -> Self {
        Self { inventory }
    }
}

fn order_id(text: &str) -> Result<OrderId, InventoryError> {
    Ok(text.parse()?)
}

#[tonic::async_trait]
impl inventory_server::Inventory for Service {
    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id, outcome))]
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let request = request.into_inner();
        let lines = Lines::try_from(request.lines.as_slice())?;
        let outcome = self.inventory.reserve(order_id(&request.order_id)?, lines).await?;
        let (outcome, short_sku) = match outcome {
            ReservationOutcome::Held => (ReserveOutcome::Held, String::new()),
            ReservationOutcome::OutOfStock(sku) => (ReserveOutcome::OutOfStock, sku.to_string()),
            ReservationOutcome::UnknownSku(sku) => (ReserveOutcome::UnknownSku, sku.to_string()),
        };
        tracing::Span::current().record("outcome", outcome.as_str_name());
        Ok(Response::new(ReserveResponse { outcome: outcome.into(), short_sku }))
    }

    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        self.inventory.release(order_id(&request.get_ref().order_id)?).await?;
        Ok(Response::new(ReleaseResponse {}))
    }

    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        self.inventory.commit(order_id(&request.get_ref().order_id)?).await?;
        Ok(Response::new(CommitResponse {}))
    }

    #[tracing::instrument(skip_all, fields(sku = request.get_ref().sku))]
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<GetStockResponse>, Status> {
        let sku = request.into_inner().sku;
        let level = self.inventory.level(sku.parse().map_err(InventoryError::Id)?).await?;
        Ok(Response::new(GetStockResponse { sku, on_hand: level.on_hand, held: level.held }))
    }
}
