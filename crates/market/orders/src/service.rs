//! The gRPC service: parses requests, asks the orders, answers. Authorization has happened before a request gets here.

use std::sync::Arc;

use avouch_spiffe::PeerIdentity;
use market_api::orders::v1;
use market_api::orders::v1::{
    GetOrderRequest, GetOrderResponse, OrderState, PlaceOrderRequest, PlaceOrderResponse, RejectReason,
    orders_server,
};
use tonic::{Request, Response, Status};

use crate::{Downstream, Order, Orders, OrdersError, Record};

/// Serves [`Orders`] over gRPC.
#[derive(Clone, Debug)]
pub struct Service<D> {
    orders: Orders<D>,
}

impl<D: Downstream> Service<D> {
    /// The service on top of `orders`.
    #[must_use]
    pub fn new(orders: Orders<D>) -> Self {
        Self { orders }
    }
}

impl From<Record> for v1::Order {
    fn from(record: Record) -> Self {
        let rejection = record.state.rejection();
        Self {
            order_id: record.order.id().to_string(),
            customer_id: record.order.customer().to_string(),
            lines: record.order.line_messages(),
            total: Some(record.order.total().into()),
            state: OrderState::from(&record.state).into(),
            reject_reason: rejection.map_or(RejectReason::Unspecified, |it| it.reason.into()).into(),
            reject_detail: rejection.map_or_else(String::new, |it| it.detail.clone()),
            received_at: Some(record.received_at.into()),
            updated_at: Some(record.updated_at.into()),
        }
    }
}

/// The verified caller, which is stored with its order.
fn peer<T>(request: &Request<T>) -> Result<Arc<PeerIdentity>, OrdersError> {
    request.extensions().get::<Arc<PeerIdentity>>().cloned().ok_or(OrdersError::NoPeer)
}

#[tonic::async_trait]
impl<D: Downstream> orders_server::Orders for Service<D> {
    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id, state))]
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let peer = peer(&request)?;
        let order = Order::try_from(request.into_inner())?;
        let record = self.orders.place(order, peer.spiffe_id()).await?;
        tracing::Span::current().record("state", record.state.name());
        Ok(Response::new(PlaceOrderResponse { order: Some(record.into()) }))
    }

    #[tracing::instrument(skip_all, fields(order_id = request.get_ref().order_id))]
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let order = request.into_inner().order_id.parse().map_err(OrdersError::Id)?;
        let record = self.orders.get(order).await?;
        Ok(Response::new(GetOrderResponse { order: Some(record.into()) }))
    }
}
