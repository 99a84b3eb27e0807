//! The gRPC service: hands orders on. Authorization has happened before a request gets here.

use market_api::orders::v1::PlaceOrderRequest as OrderRequest;
use market_api::storefront::v1::{
    GetOrderRequest, GetOrderResponse, PlaceOrderRequest, PlaceOrderResponse, storefront_server,
};
use tonic::{Code, Request, Response, Status};

use crate::OrdersClient;

/// Hands shoppers' orders to the orders service, over gRPC.
#[derive(Clone, Debug)]
pub struct Service<D> {
    client: D,
}

impl<D: OrdersClient> Service<D> {
    /// Hands orders to `client`.
    pub fn new(client: D) -> Self {
        Self { client }
    }
}

/// The status that a shopper receives: errors about the order itself unchanged, failures between the market's own
/// services without their details.
pub(crate) fn for_shoppers(status: &Status) -> Status {
    match status.code() {
        Code::InvalidArgument | Code::AlreadyExists | Code::NotFound => {
            Status::new(status.code(), status.message())
        }
        code => {
            tracing::error!(?code, error = status.message(), "the orders service does not take orders");
            Status::unavailable("the shop cannot take orders at this moment")
        }
    }
}

#[tonic::async_trait]
impl<D: OrdersClient> storefront_server::Storefront for Service<D> {
    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let PlaceOrderRequest { order_id, customer_id, currency, lines } = request.into_inner();
        let order = self.client.place(OrderRequest { order_id, customer_id, currency, lines }).await;
        let order = order.map_err(|status| for_shoppers(&status))?;
        Ok(Response::new(PlaceOrderResponse { order: Some(order) }))
    }

    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let order = self.client.get(request.into_inner().order_id).await;
        let order = order.map_err(|status| for_shoppers(&status))?;
        Ok(Response::new(GetOrderResponse { order: Some(order) }))
    }
}
