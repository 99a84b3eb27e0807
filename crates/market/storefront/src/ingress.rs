//! The HTTPS ingress: the storefront's two RPCs as JSON.
//!
//! ```text
//! POST /orders       market.storefront.v1.Storefront/PlaceOrder
//! GET  /orders/{id}  market.storefront.v1.Storefront/GetOrder
//! ```
//!
//! Who calls is the verified SPIFFE ID of the connection, whether it may is the policy's word on the RPC; both are asked
//! before a body is read. Nothing that a request says about its caller is believed.

use std::sync::Arc;
use std::time::Duration;

use avouch_authz::layer::DecisionIds;
use avouch_authz::{Caller, Denial, PolicyHandle};
use avouch_service::telemetry::opentelemetry::Context;
use avouch_service::telemetry::opentelemetry::trace::TraceContextExt as _;
use avouch_service::telemetry::{Tracing, parse_traceparent};
use avouch_spiffe::{PeerIdentity, Reason};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::order_json::is_final;
use crate::service::for_shoppers;
use crate::{AnswerJson, OrderDesk, OrderJson};

/// The RPC that `POST /orders` stands for.
pub(crate) const PLACE_ORDER: &str = "/market.storefront.v1.Storefront/PlaceOrder";
/// The RPC that `GET /orders/{id}` stands for.
pub(crate) const GET_ORDER: &str = "/market.storefront.v1.Storefront/GetOrder";

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive; deadlines are gRPC's, so nothing else would end the wait.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the ingress needs.
#[derive(Clone, Debug)]
pub struct Ingress<D> {
    /// Where orders go.
    pub desk: D,
    /// Who may call.
    pub policy: PolicyHandle,
    /// Names for refusals.
    pub decisions: DecisionIds,
    /// Begins the trace of a request.
    pub tracing: Tracing,
}

/// The routes, for the identity library's server.
pub fn router<D: OrderDesk>(ingress: Ingress<D>) -> Router {
    Router::new()
        .route("/orders", post(place_order::<D>))
        .route("/orders/{id}", get(get_order::<D>))
        .with_state(Arc::new(ingress))
}

/// An answer that is no order.
#[derive(Debug, Serialize)]
struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    /// A word a program can act on.
    error: &'static str,
    /// In words.
    message: String,
    /// Finds the server's record of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), decision_id: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The one place that turns a gRPC status into an HTTP answer.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let status = for_shoppers(&status);
        let (http, error) = match status.code() {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ORDER"),
            Code::AlreadyExists => (StatusCode::CONFLICT, "ORDER_ID_TAKEN"),
            Code::NotFound => (StatusCode::NOT_FOUND, "NO_SUCH_ORDER"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        };
        Self::new(http, error, status.message())
    }
}

impl<D> Ingress<D> {
    /// Asks the policy whether the caller may use an RPC.
    fn authorize(&self, request: &Request, rpc: &str) -> Result<(), Refusal> {
        let decision = match request.extensions().get::<Arc<PeerIdentity>>() {
            Some(peer) => self.policy.decide_peer(peer, rpc),
            None => self.policy.decide(Caller::Anonymous, rpc),
        };
        match decision {
            Ok(permit) => {
                if let Some(denial) = permit.audited() {
                    tracing::warn!(caller = denial.who(), "let through in audit mode: {denial}");
                }
                Ok(())
            }
            Err(denial) => Err(self.refuse(&denial)),
        }
    }

    fn refuse(&self, denial: &Denial) -> Refusal {
        let decision_id = self.decisions.next().to_string();
        let reason = denial.reason();
        tracing::warn!(decision_id, caller = denial.who(), %reason, help = denial.help(), "refused: {denial}");
        let status = match reason {
            Reason::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NoPeerIdentity => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
        let mut refusal = Refusal::new(status, reason.as_str(), "the policy does not allow this");
        refusal.decision_id = Some(decision_id);
        refusal
    }
}

async fn place_order<D: OrderDesk>(
    State(ingress): State<Arc<Ingress<D>>>,
    request: Request,
) -> Result<Response, Refusal> {
    let parent = traceparent(&request);
    ingress.tracing.scope("POST /orders", parent, place(&ingress, request)).await
}

#[tracing::instrument(skip_all, fields(order_id, state))]
async fn place<D: OrderDesk>(ingress: &Ingress<D>, request: Request) -> Result<Response, Refusal> {
    ingress.authorize(&request, PLACE_ORDER)?;
    let order = read_order(request.into_body()).await?;
    tracing::Span::current().record("order_id", order.order_id.as_str());
    let order = ingress.desk.place(order.into()).await?;
    let status = if is_final(&order) { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = AnswerJson::from(order);
    tracing::Span::current().record("state", answer.state);
    Ok((status, Json(answer)).into_response())
}

async fn get_order<D: OrderDesk>(
    State(ingress): State<Arc<Ingress<D>>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<AnswerJson>, Refusal> {
    let parent = traceparent(&request);
    ingress.tracing.scope("GET /orders/{id}", parent, find(&ingress, id, request)).await
}

#[tracing::instrument(skip_all, fields(order_id = id))]
async fn find<D: OrderDesk>(
    ingress: &Ingress<D>,
    id: String,
    request: Request,
) -> Result<Json<AnswerJson>, Refusal> {
    ingress.authorize(&request, GET_ORDER)?;
    Ok(Json(ingress.desk.get(id).await?.into()))
}

/// The shopper's own trace, if it has one.
fn traceparent(request: &Request) -> Option<Context> {
    let remote = parse_traceparent(request.headers().get("traceparent")?.as_bytes())?;
    Some(Context::new().with_remote_span_context(remote))
}

/// Whatever the content type says: `curl -d` calls everything a form.
async fn read_order(body: Body) -> Result<OrderJson, Refusal> {
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await.map_err(|_elapsed| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "TOO_SLOW",
            format!("a body arrives within {} s", BODY_TIMEOUT.as_secs()),
        )
    })?;
    let body = body.map_err(|_too_large| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            format!("a body has at most {MAX_BODY} bytes"),
        )
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "MALFORMED", error.to_string()))
}

#[cfg(test)]
#[path = "ingress_tests.rs"]
mod tests;
