//! The seam to the orders service, and its gRPC side.

use std::future::Future;

use avouch_service::TracedChannel;
use market_api::orders::v1::orders_client::OrdersClient;
use market_api::orders::v1::{GetOrderRequest, Order, PlaceOrderRequest};
use tonic::Status;

/// Takes orders; idempotent by order ID.
pub trait OrderDesk: Clone + Send + Sync + 'static {
    /// Places an order. `Ok` means it is durable there, not that it is final.
    fn place(&self, request: PlaceOrderRequest) -> impl Future<Output = Result<Order, Status>> + Send;
    /// An order that was placed.
    fn get(&self, order_id: String) -> impl Future<Output = Result<Order, Status>> + Send;
}

/// The orders service.
#[derive(Clone, Debug)]
pub struct OrdersService {
    client: OrdersClient<TracedChannel>,
}

impl OrdersService {
    /// The orders service at the other end of `channel`.
    #[must_use]
    pub fn new(channel: TracedChannel) -> Self {
        Self { client: OrdersClient::new(channel) }
    }
}

fn required(order: Option<Order>) -> Result<Order, Status> {
    order.ok_or_else(|| Status::internal("the orders service answered without an order"))
}

impl OrderDesk for OrdersService {
    async fn place(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        required(self.client.clone().place_order(request).await?.into_inner().order)
    }

    async fn get(&self, order_id: String) -> Result<Order, Status> {
        required(self.client.clone().get_order(GetOrderRequest { order_id }).await?.into_inner().order)
    }
}
