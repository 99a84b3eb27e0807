//! The interface to the orders service, and its gRPC implementation.

use std::future::Future;

use avouch_service::TracedChannel;
use market_api::orders::v1::{GetOrderRequest, Order, PlaceOrderRequest, orders_client};
use tonic::Status;

/// A client of the orders service. Placing an order is idempotent by order ID.
pub trait OrdersClient: Clone + Send + Sync + 'static {
    /// Places an order. `Ok` means that it is durable there, not that it is final.
    fn place(&self, request: PlaceOrderRequest) -> impl Future<Output = Result<Order, Status>> + Send;
    /// An order that was placed.
    fn get(&self, order_id: String) -> impl Future<Output = Result<Order, Status>> + Send;
}

/// The client over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcOrdersClient {
    client: orders_client::OrdersClient<TracedChannel>,
}

impl GrpcOrdersClient {
    /// A client of the orders service at the other end of `channel`.
    #[must_use]
    pub fn new(channel: TracedChannel) -> Self {
        Self { client: orders_client::OrdersClient::new(channel) }
    }
}

fn required(order: Option<Order>) -> Result<Order, Status> {
    order.ok_or_else(|| Status::internal("the orders service answered without an order"))
}

impl OrdersClient for GrpcOrdersClient {
    async fn place(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        required(self.client.clone().place_order(request).await?.into_inner().order)
    }

    async fn get(&self, order_id: String) -> Result<Order, Status> {
        required(self.client.clone().get_order(GetOrderRequest { order_id }).await?.into_inner().order)
    }
}
