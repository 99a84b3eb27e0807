//! The HTTPS ingress: the storefront's two RPCs as JSON.
//!
//! ```text
//! POST /orders       market.storefront.v1.Storefront/PlaceOrder
//! GET  /orders/{id}  market.storefront.v1.Storefront/GetOrder
//! ```
//!
//! The caller is the verified SPIFFE ID of the connection, and the policy decides on the RPC; both happen before the path is
//! parsed or a body is read, so that a caller without any right does not learn which paths exist. Nothing that a request
//! says about its caller is believed. An order must come as `application/json`: a web page can make a browser that holds a
//! certificate post a form or plain text without asking its user, but not JSON.

use std::sync::Arc;
use std::time::Duration;

use avouch_authz::layer::DecisionIds;
use avouch_authz::{Caller, Denial, PolicyHandle};
use avouch_service::telemetry::opentelemetry::Context;
use avouch_service::telemetry::opentelemetry::trace::TraceContextExt as _;
use avouch_service::telemetry::{Tracing, parse_traceparent};
use avouch_spiffe::{Code as ReasonCode, PeerIdentity};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::order_json::is_final;
use crate::service::for_shoppers;
use crate::{AnswerJson, OrderJson, OrdersClient};

/// The RPC that `POST /orders` stands for.
pub(crate) const PLACE_ORDER: &str = "/market.storefront.v1.Storefront/PlaceOrder";
/// The RPC that `GET /orders/{id}` stands for.
pub(crate) const GET_ORDER: &str = "/market.storefront.v1.Storefront/GetOrder";

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive; deadlines are gRPC's, so nothing else would end the wait.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The parts of the ingress.
#[derive(Clone, Debug)]
pub struct Ingress<D> {
    /// The client of the orders service.
    pub client: D,
    /// The policy that decides who may call.
    pub policy: PolicyHandle,
    /// The ids of denied requests.
    pub decisions: DecisionIds,
    /// The tracing that begins the trace of a request.
    pub tracing: Tracing,
}

/// The routes, for the identity library's server.
pub fn router<D: OrdersClient>(ingress: Ingress<D>) -> Router {
    let ingress = Arc::new(ingress);
    Router::new()
        .route("/orders", post(place::<D>))
        .route("/orders/{id}", get(find::<D>))
        // Around everything, unknown paths included: a caller without any right gets the same answer for all.
        .layer(middleware::from_fn_with_state(Arc::clone(&ingress), guard::<D>))
        .with_state(ingress)
}

/// The RPCs of which a caller must be allowed at least one to get any answer about a path, even that it does not exist.
/// Compares the path's bytes and parses nothing.
fn rpcs(path: &str) -> &'static [&'static str] {
    match path.strip_prefix("/orders") {
        Some("") => &[PLACE_ORDER],
        Some(rest) if rest.starts_with('/') => &[GET_ORDER],
        _ => &[PLACE_ORDER, GET_ORDER],
    }
}

/// The span name of a request: one of three fixed names, whatever the path is.
fn name(method: &Method, path: &str) -> &'static str {
    match (method, rpcs(path)) {
        (&Method::POST, [PLACE_ORDER]) => "POST /orders",
        (&Method::GET, [GET_ORDER]) => "GET /orders/{id}",
        _ => "unknown request",
    }
}

/// The middleware that authorizes a request before anything else reads it.
async fn guard<D: OrdersClient>(
    State(ingress): State<Arc<Ingress<D>>>,
    request: Request,
    next: Next,
) -> Response {
    let parent = traceparent(&request);
    let name = name(request.method(), request.uri().path());
    let answer = async {
        match ingress.authorize(&request, rpcs(request.uri().path())) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    };
    ingress.tracing.scope(name, parent, answer).await
}

/// An answer other than an order.
#[derive(Debug, Serialize)]
struct ErrorAnswer {
    #[serde(skip)]
    status: StatusCode,
    /// The error code, for programs.
    error: &'static str,
    /// The error message, for people.
    message: String,
    /// The id by which the server's record of a denied request is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
}

impl ErrorAnswer {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), decision_id: None }
    }
}

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The one place that turns a gRPC status into an HTTP answer.
impl From<Status> for ErrorAnswer {
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
    /// Asks the policy whether the caller may use one of these RPCs; a refusal is that of the first.
    fn authorize(&self, request: &Request, rpcs: &[&str]) -> Result<(), ErrorAnswer> {
        let mut denied = None;
        for rpc in rpcs {
            let decision = match request.extensions().get::<Arc<PeerIdentity>>() {
                Some(peer) => self.policy.decide_peer(peer, rpc),
                None => self.policy.decide(Caller::Anonymous, rpc),
            };
            match decision {
                Ok(permit) => {
                    if let Some(denial) = permit.audited() {
                        tracing::warn!(caller = denial.who(), "let through in audit mode: {denial}");
                    }
                    return Ok(());
                }
                Err(denial) => denied = denied.or(Some(denial)),
            }
        }
        match denied {
            Some(denial) => Err(self.refuse(&denial)),
            None => Err(ErrorAnswer::new(StatusCode::FORBIDDEN, "NO_RULE", "nothing is allowed here")),
        }
    }

    fn refuse(&self, denial: &Denial) -> ErrorAnswer {
        let decision_id = self.decisions.next().to_string();
        let reason = denial.reason();
        tracing::warn!(decision_id, caller = denial.who(), %reason, help = denial.help(), "refused: {denial}");
        let status = match reason.code() {
            ReasonCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ReasonCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ReasonCode::PermissionDenied | ReasonCode::InvalidArgument | ReasonCode::ResourceExhausted => {
                StatusCode::FORBIDDEN
            }
        };
        let mut refusal = ErrorAnswer::new(status, reason.as_str(), "the policy does not allow this");
        refusal.decision_id = Some(decision_id);
        refusal
    }
}

#[tracing::instrument(skip_all, fields(order_id, state))]
async fn place<D: OrdersClient>(
    State(ingress): State<Arc<Ingress<D>>>,
    request: Request,
) -> Result<Response, ErrorAnswer> {
    if !is_json(request.headers()) {
        let message = "an order is sent with the header content-type: application/json";
        return Err(ErrorAnswer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", message));
    }
    let order = read_order(request.into_body()).await?;
    tracing::Span::current().record("order_id", order.order_id.as_str());
    let order = ingress.client.place(order.into()).await?;
    let status = if is_final(&order) { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = AnswerJson::from(order);
    tracing::Span::current().record("state", answer.state);
    Ok((status, Json(answer)).into_response())
}

#[tracing::instrument(skip_all, fields(order_id))]
async fn find<D: OrdersClient>(
    State(ingress): State<Arc<Ingress<D>>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<AnswerJson>, ErrorAnswer> {
    let Path(id) = id.map_err(|_unreadable| {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, "MALFORMED", "the order's ID is not UTF-8")
    })?;
    tracing::Span::current().record("order_id", id.as_str());
    Ok(Json(ingress.client.get(id).await?.into()))
}

/// Whether there is exactly one content type, `application/json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|octet| *octet == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// The trace context that the shopper's request carries, if any.
fn traceparent(request: &Request) -> Option<Context> {
    let remote = parse_traceparent(request.headers().get("traceparent")?.as_bytes())?;
    Some(Context::new().with_remote_span_context(remote))
}

/// Reads the whole body, within the time limit.
async fn read_order(body: Body) -> Result<OrderJson, ErrorAnswer> {
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await.map_err(|_elapsed| {
        ErrorAnswer::new(
            StatusCode::REQUEST_TIMEOUT,
            "TOO_SLOW",
            format!("a body arrives within {} s", BODY_TIMEOUT.as_secs()),
        )
    })?;
    let body = body.map_err(|_too_large| {
        ErrorAnswer::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            format!("a body has at most {MAX_BODY} bytes"),
        )
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| ErrorAnswer::new(StatusCode::BAD_REQUEST, "MALFORMED", error.to_string()))
}

#[cfg(test)]
#[path = "ingress_tests.rs"]
mod tests;
