//! The front door over gRPC. Who may call is settled before a request gets here.

use market_api::orders::v1::PlaceOrderRequest as OrderRequest;
use market_api::storefront::v1::{
    GetOrderRequest, GetOrderResponse, PlaceOrderRequest, PlaceOrderResponse, storefront_server,
};
use tonic::{Code, Request, Response, Status};

use crate::OrderDesk;

/// Hands shoppers' orders to the orders service.
#[derive(Clone, Debug)]
pub struct Service<D> {
    desk: D,
}

impl<D: OrderDesk> Service<D> {
    /// Hands orders to `desk`.
    pub fn new(desk: D) -> Self {
        Self { desk }
    }
}

/// What a shopper hears of a failure: verdicts on the order as they are; what happens between the shop's own services
/// is not the shopper's to know.
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
impl<D: OrderDesk> storefront_server::Storefront for Service<D> {
    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let PlaceOrderRequest { order_id, customer_id, currency, lines } = request.into_inner();
        let order = self.desk.place(OrderRequest { order_id, customer_id, currency, lines }).await;
        let order = order.map_err(|status| for_shoppers(&status))?;
        Ok(Response::new(PlaceOrderResponse { order: Some(order) }))
    }

    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let order = self.desk.get(request.into_inner().order_id).await;
        let order = order.map_err(|status| for_shoppers(&status))?;
        Ok(Response::new(GetOrderResponse { order: Some(order) }))
    }
}
