//! The HTTPS ingress: the storefront's two RPCs as JSON.
//!
//! ```text
//! POST /orders       market.storefront.v1.Storefront/PlaceOrder
//! GET  /orders/{id}  market.storefront.v1.Storefront/GetOrder
//! ```
//!
//! Who calls is the verified SPIFFE ID of the connection, whether it may is the policy's word on the RPC; both are asked
//! before the path is parsed or a body is read, so that who may call nothing here does not learn what is here. Nothing
//! that a request says about its caller is believed. An order comes as `application/json`: a page in a browser that
//! holds a certificate can post a form or plain text without asking, and that not.

use std::sync::Arc;
use std::time::Duration;

use avouch_authz::layer::DecisionIds;
use avouch_authz::{Caller, Denial, PolicyHandle};
use avouch_service::telemetry::opentelemetry::Context;
use avouch_service::telemetry::opentelemetry::trace::TraceContextExt as _;
use avouch_service::telemetry::{Tracing, parse_traceparent};
use avouch_spiffe::{PeerIdentity, Reason};
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
    let ingress = Arc::new(ingress);
    Router::new()
        .route("/orders", post(place::<D>))
        .route("/orders/{id}", get(find::<D>))
        // Around everything, what does not exist included.
        .layer(middleware::from_fn_with_state(Arc::clone(&ingress), guard::<D>))
        .with_state(ingress)
}

/// The RPCs of which a caller must be allowed one to hear anything about a path, even that it does not exist. Looks at
/// the path's octets and parses nothing.
fn rpcs(path: &str) -> &'static [&'static str] {
    match path.strip_prefix("/orders") {
        Some("") => &[PLACE_ORDER],
        Some(rest) if rest.starts_with('/') => &[GET_ORDER],
        _ => &[PLACE_ORDER, GET_ORDER],
    }
}

/// A name for the trace of a request: of the few there are.
fn name(method: &Method, path: &str) -> &'static str {
    match (method, rpcs(path)) {
        (&Method::POST, [PLACE_ORDER]) => "POST /orders",
        (&Method::GET, [GET_ORDER]) => "GET /orders/{id}",
        _ => "unknown request",
    }
}

/// Asks the policy, before anything else is asked of a request.
async fn guard<D: OrderDesk>(
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
    /// Asks the policy whether the caller may use one of these RPCs; a refusal is that of the first.
    fn authorize(&self, request: &Request, rpcs: &[&str]) -> Result<(), Refusal> {
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
            None => Err(Refusal::new(StatusCode::FORBIDDEN, "NO_RULE", "nothing is allowed here")),
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

#[tracing::instrument(skip_all, fields(order_id, state))]
async fn place<D: OrderDesk>(
    State(ingress): State<Arc<Ingress<D>>>,
    request: Request,
) -> Result<Response, Refusal> {
    if !is_json(request.headers()) {
        let message = "an order is sent with the header content-type: application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", message));
    }
    let order = read_order(request.into_body()).await?;
    tracing::Span::current().record("order_id", order.order_id.as_str());
    let order = ingress.desk.place(order.into()).await?;
    let status = if is_final(&order) { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = AnswerJson::from(order);
    tracing::Span::current().record("state", answer.state);
    Ok((status, Json(answer)).into_response())
}

#[tracing::instrument(skip_all, fields(order_id))]
async fn find<D: OrderDesk>(
    State(ingress): State<Arc<Ingress<D>>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<AnswerJson>, Refusal> {
    let Path(id) = id.map_err(|_unreadable| {
        Refusal::new(StatusCode::BAD_REQUEST, "MALFORMED", "the order's ID is not UTF-8")
    })?;
    tracing::Span::current().record("order_id", id.as_str());
    Ok(Json(ingress.desk.get(id).await?.into()))
}

/// One content type, `application/json`, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|octet| *octet == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// The shopper's own trace, if it has one.
fn traceparent(request: &Request) -> Option<Context> {
    let remote = parse_traceparent(request.headers().get("traceparent")?.as_bytes())?;
    Some(Context::new().with_remote_span_context(remote))
}

/// The whole body, in time.
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
