//! The layer around a service that would answer anybody: which calls reach it, and what denied callers see.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use avouch_testkit::log::Log;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::ServiceExt;

use super::*;
use crate::decide::Permit;
use crate::policy::Policy;
use crate::testing::{POLICY, methods, policy, rename_into_place};

const POST: &str = "/shop.v1.Ledger/Post";

fn peer(id: &str) -> Arc<PeerIdentity> {
    Arc::new(avouch_testkit::ca::peer(id, "x"))
}

#[derive(Default)]
struct Counter {
    allowed: AtomicUsize,
    audited: Mutex<Vec<(Option<usize>, String)>>,
    denied: Mutex<Vec<(Option<usize>, String, String)>>,
}

impl DecisionObserver for Counter {
    fn allowed(&self, _: &Permit, _: &http::Extensions) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    fn audited(&self, call: &DeniedCall<'_>, _: &http::Extensions) {
        let index = call.denial.method().map(crate::MethodIndex::index);
        self.audited.lock().unwrap().push((index, call.decision_id.to_string()));
    }

    fn denied(&self, call: &DeniedCall<'_>, _: &http::Extensions) {
        let index = call.denial.method().map(crate::MethodIndex::index);
        let reason = call.denial.reason().to_string();
        self.denied.lock().unwrap().push((index, reason, call.decision_id.to_string()));
    }
}

fn layer(handle: PolicyHandle, observer: Arc<Counter>) -> AuthzLayer {
    AuthzLayer::new(handle, "shop.example".parse().unwrap(), observer).decision_ids(DecisionIds::seeded(0))
}

fn shop() -> (AuthzLayer, Arc<Counter>) {
    let counter = Arc::new(Counter::default());
    (layer(PolicyHandle::fixed(policy(POLICY)), Arc::clone(&counter)), counter)
}

/// Calls through the layer; the service behind it answers with the permit's path in a header.
async fn call(layer: &AuthzLayer, path: &str, put: impl FnOnce(&mut Extensions)) -> Response<Body> {
    let service = layer.layer(tower::service_fn(|request: Request<()>| async move {
        let permit = request.extensions().get::<Permit>().expect("a permit");
        let response = Response::builder().header("reached", permit.path()).body(Body::empty());
        Ok::<_, Infallible>(response.unwrap())
    }));
    let mut request = Request::builder().uri(path).body(()).unwrap();
    put(request.extensions_mut());
    service.oneshot(request).await.unwrap()
}

async fn call_as(layer: &AuthzLayer, path: &str, id: &str) -> Response<Body> {
    let peer = peer(id);
    call(layer, path, |extensions| _ = extensions.insert(peer)).await
}

/// What a gRPC client makes of a trailers-only response.
fn refused(response: &Response<Body>) -> (Status, ErrorDetails) {
    assert!(!response.headers().contains_key("reached"));
    let status = Status::from_header_map(response.headers()).expect("a grpc-status");
    let details = status.get_error_details();
    (status, details)
}

#[tokio::test]
async fn an_allowed_call_reaches_the_service_with_its_permit() {
    let (layer, counter) = shop();
    let response = call_as(&layer, POST, "spiffe://shop.example/payments").await;
    assert_eq!(response.headers()["reached"], POST);
    assert_eq!(counter.allowed.load(Ordering::Relaxed), 1);
    assert!(counter.denied.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_a_trailers_only_response() {
    let (layer, _) = shop();
    let response = call_as(&layer, POST, "spiffe://shop.example/orders").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "7");
    assert!(response.headers().contains_key("grpc-status-details-bin"));
    let message = response.headers()["grpc-message"].to_str().unwrap();
    assert!(message.contains("ROLE_MISSING:%20"), "not percent-encoded: {message}");
    assert!(http_body_is_empty(response));
}

fn http_body_is_empty(response: Response<Body>) -> bool {
    tonic::codegen::Body::is_end_stream(response.body())
}

#[tokio::test]
async fn a_caller_of_the_own_trust_domain_learns_the_reason_and_the_roles_but_not_the_rules() {
    let (layer, _) = shop();
    let (status, details) = refused(&call_as(&layer, POST, "spiffe://shop.example/staff/peter").await);
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("ROLE_MISSING", "avouch"));
    let mut metadata: Vec<_> = info.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    metadata.sort_unstable();
    assert_eq!(metadata, [("have", "staff"), ("method", POST), ("need", "ledger-writer")]);
    assert_eq!(details.request_info().unwrap().request_id, "d-e220a8397b1dcdaf");
    let command = "; decision d-e220a8397b1dcdaf; `avouch explain d-e220a8397b1dcdaf`";
    assert!(status.message().ends_with(command), "{}", status.message());
}

#[tokio::test]
async fn a_holder_of_the_debug_role_also_learns_where_the_policy_says_so() {
    let (layer, _) = shop();
    let (_, details) = refused(&call_as(&layer, POST, "spiffe://shop.example/staff/olga").await);
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["policy"], "policy.toml:2");
    assert_eq!(metadata["rule"], "roles: [ledger-writer]");
    assert_eq!(metadata["policy_version"].len(), 12);
}

#[tokio::test]
async fn a_foreign_trust_domain_learns_the_decision_id_alone() {
    let (layer, _) = shop();
    for path in [POST, "/shop.v1.Admin/Close", "/unknown.v1.X/Y"] {
        let (status, details) = refused(&call_as(&layer, path, "spiffe://audit.example/eve").await);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(details.error_info().is_none());
        let id = &details.request_info().unwrap().request_id;
        assert_eq!(status.message(), format!("refused; decision {id}"));
    }
}

#[tokio::test]
async fn a_foreign_holder_of_the_debug_role_learns_no_more_than_other_foreigners() {
    let text = "[roles]\ndebug = [\"spiffe://audit.example/eve\"]\n";
    let layer = layer(PolicyHandle::fixed(policy(text)), Arc::default());
    let (_, details) = refused(&call_as(&layer, POST, "spiffe://audit.example/eve").await);
    assert!(details.error_info().is_none());
}

#[tokio::test]
async fn every_reason_has_its_status_code() {
    let (shop, counter) = shop();
    let at = |response| {
        let (status, details) = refused(&response);
        (status.code(), details.error_info().unwrap().reason.clone())
    };
    let anonymous = call(&shop, POST, |_| {}).await;
    assert_eq!(at(anonymous), (Code::Unauthenticated, "NO_PEER_IDENTITY".into()));
    let unknown = call_as(&shop, "/shop.v1.Ledger/Burn", "spiffe://shop.example/payments").await;
    assert_eq!(at(unknown), (Code::PermissionDenied, "NO_ALLOW_RULE".into()));
    let denied = call_as(&shop, POST, "spiffe://shop.example/staff/mallory").await;
    assert_eq!(at(denied), (Code::PermissionDenied, "DENY_RULE_MATCHED".into()));
    let reasons: Vec<_> =
        counter.denied.lock().unwrap().iter().map(|(_, reason, _)| reason.clone()).collect();
    assert_eq!(reasons, ["NO_PEER_IDENTITY", "NO_ALLOW_RULE", "DENY_RULE_MATCHED"]);

    let pending = layer(PolicyHandle::pending("absent.toml", methods()), Arc::default());
    let not_ready = call_as(&pending, POST, "spiffe://shop.example/payments").await;
    assert_eq!(at(not_ready), (Code::Unavailable, "NOT_READY".into()));
}

#[tokio::test]
async fn the_observer_gets_the_method_index_and_the_decision_id_of_the_answer() {
    let (layer, counter) = shop();
    let (_, details) = refused(&call_as(&layer, POST, "spiffe://shop.example/orders").await);
    refused(&call_as(&layer, "/unknown.v1.X/Y", "spiffe://shop.example/orders").await);
    let denied = counter.denied.lock().unwrap();
    assert_eq!(denied[0].0, methods().index_of(POST).map(crate::MethodIndex::index));
    assert_eq!(denied[0].2, details.request_info().unwrap().request_id);
    assert_eq!(denied[1].0, None);
}

#[tokio::test]
async fn the_local_admin_is_known_by_its_marker_and_a_peer_never_becomes_one() {
    let (layer, _) = shop();
    let close = "/shop.v1.Admin/Close";
    let response = call(&layer, close, |e| _ = e.insert(LocalAdminCaller)).await;
    assert_eq!(response.headers()["reached"], close);
    let olga = peer("spiffe://shop.example/staff/olga");
    let both = call(&layer, close, |e| {
        e.insert(LocalAdminCaller);
        e.insert(olga);
    });
    assert_eq!(refused(&both.await).1.error_info().unwrap().reason, "NO_ALLOW_RULE");
}

#[tokio::test]
async fn a_permit_that_came_with_the_request_is_replaced_and_does_not_open_anything() {
    let (layer, _) = shop();
    let forged = crate::decide(&policy(POLICY), Caller::Anonymous, "/shop.v1.Shop/Knock").unwrap();
    let response = call(&layer, POST, |e| _ = e.insert(forged)).await;
    assert_eq!(refused(&response).0.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_new_policy_takes_effect_on_the_next_call_of_a_running_service() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("policy.toml");
    rename_into_place(&path, POLICY);
    let handle = PolicyHandle::load(&path, methods()).unwrap();
    let layer = layer(handle.clone(), Arc::default());
    let payments = "spiffe://shop.example/payments";
    assert!(call_as(&layer, POST, payments).await.headers().contains_key("reached"));
    rename_into_place(&path, "[roles]\nledger-writer = []\n");
    handle.reload().await.unwrap();
    assert_eq!(refused(&call_as(&layer, POST, payments).await).0.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_layer_fits_around_tonics_routes() {
    let (layer, _) = shop();
    let service = layer.layer(tonic::service::Routes::default());
    let ask = |path: &str| service.clone().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap());
    let code = |response: Response<Body>| Status::from_header_map(response.headers()).unwrap().code();
    // An allowed call reaches the routes, which have no service for it; a denied one does not.
    assert_eq!(code(ask("/shop.v1.Shop/Knock").await.unwrap()), Code::Unimplemented);
    assert_eq!(code(ask("/shop.v1.Shop/Look").await.unwrap()), Code::Unauthenticated);
    assert_eq!(code(ask("/shop.v1.Shop/Nothing").await.unwrap()), Code::PermissionDenied);
}

#[tokio::test]
async fn a_refusal_is_logged_once_with_who_what_why_and_the_command_that_shows_more() {
    let (log, guard) = Log::of_thread();
    let (layer, _) = shop();
    let layer = layer.connection_id(|_| Some("conn-7".to_owned()));
    call_as(&layer, POST, "spiffe://shop.example/payments").await;
    call_as(&layer, POST, "spiffe://shop.example/orders").await;
    drop(guard);
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in [
        "WARN",
        "call refused",
        "decision_id=d-e220a8397b1dcdaf",
        "connection_id=\"conn-7\"",
        "peer=\"spiffe://shop.example/orders\"",
        "method=\"/shop.v1.Ledger/Post\"",
        "reason=\"ROLE_MISSING\"",
        "need=\"ledger-writer\"",
        "rule=\"roles: [ledger-writer]\"",
        "policy=policy.toml:2",
        "avouch entry show spiffe://shop.example/orders",
    ] {
        assert!(lines[0].contains(part), "{part} not in {text}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_bounded_number_of_lines_and_hides_nobody_elses() {
    let (log, guard) = Log::of_thread();
    let (layer, _) = shop();
    for _ in 0..1_000 {
        call_as(&layer, POST, "spiffe://shop.example/orders").await;
    }
    call_as(&layer, POST, "spiffe://shop.example/other").await;
    call_as(&layer, "/shop.v1.Shop/Nothing", "spiffe://shop.example/orders").await;
    drop(guard);
    let text = log.text();
    // Sixty, and one per ten seconds that the test takes.
    let lines = text.lines().filter(|line| line.contains("ROLE_MISSING") && line.contains("/orders")).count();
    assert!((60..70).contains(&lines), "{lines} lines");
    assert_eq!(text.lines().filter(|line| line.contains("shop.example/other")).count(), 1);
    assert_eq!(text.lines().filter(|line| line.contains("NO_ALLOW_RULE")).count(), 1);
}

#[tokio::test]
async fn a_service_without_a_policy_file_still_guards_its_identities() {
    let layer = layer(PolicyHandle::fixed(Policy::without_roles(&methods())), Arc::default());
    let look = "/shop.v1.Shop/Look";
    assert!(call_as(&layer, look, "spiffe://shop.example/x").await.headers().contains_key("reached"));
    assert_eq!(refused(&call(&layer, look, |_| {}).await).0.code(), Code::Unauthenticated);
}

/// An audited call reaches the service, and is told of as audited: neither as allowed nor as denied.
#[tokio::test]
async fn an_audited_call_goes_through_and_is_told_of_once_and_logged_like_the_refusal_it_would_be() {
    let (log, guard) = Log::of_thread();
    let counter = Arc::new(Counter::default());
    let text = format!("mode = \"audit\"\n{POLICY}");
    let layer = layer(PolicyHandle::fixed(policy(&text)), Arc::clone(&counter));
    let response = call_as(&layer, POST, "spiffe://shop.example/orders").await;
    drop(guard);
    assert_eq!(response.headers()["reached"], POST);
    assert_eq!(counter.allowed.load(Ordering::Relaxed), 0);
    assert!(counter.denied.lock().unwrap().is_empty());
    let index = methods().index_of(POST).map(crate::MethodIndex::index);
    assert_eq!(*counter.audited.lock().unwrap(), [(index, "d-e220a8397b1dcdaf".to_owned())]);
    let text = log.text();
    for part in [
        "WARN",
        "verdict=\"audited\"",
        "reason=\"ROLE_MISSING\"",
        "audit=policy.toml:1",
        "policy=policy.toml:3",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
}

#[tokio::test]
async fn a_flood_of_audited_calls_hides_no_refusal_from_the_log() {
    let (log, guard) = Log::of_thread();
    let text = "[[audit]]\nmethods = [\"/shop.v1.Ledger/Read\"]\n";
    let layer = layer(PolicyHandle::fixed(policy(text)), Arc::default());
    for _ in 0..1_000 {
        call_as(&layer, "/shop.v1.Ledger/Read", "spiffe://shop.example/orders").await;
    }
    call_as(&layer, POST, "spiffe://shop.example/orders").await;
    drop(guard);
    let text = log.text();
    let audited = text.lines().filter(|line| line.contains("verdict=\"audited\"")).count();
    assert!((60..70).contains(&audited), "{audited} lines");
    assert_eq!(text.lines().filter(|line| line.contains("verdict=\"refused\"")).count(), 1);
}

#[tokio::test]
async fn audit_mode_answers_callers_without_an_identity_as_ever() {
    let layer = layer(PolicyHandle::fixed(policy("mode = \"audit\"\n")), Arc::default());
    let (status, details) = refused(&call(&layer, POST, |_| {}).await);
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(details.error_info().unwrap().reason, "NO_PEER_IDENTITY");
}

#[tokio::test]
async fn the_age_of_a_certificate_is_told_by_the_handles_clock_on_every_call() {
    use avouch_time::clock::ManualClock;
    use std::time::Duration;

    let payments = peer("spiffe://shop.example/payments");
    let clock = ManualClock::new(payments.not_before() + Duration::from_secs(3600));
    let text = "[roles]\nledger-writer = [{ caller = \"spiffe://shop.example/payments\", max_certificate_age = \"1h\" }]\n";
    let layer = layer(PolicyHandle::fixed_by(clock.shared(), policy(text)), Arc::default());
    let ask = || call(&layer, POST, |extensions| _ = extensions.insert(Arc::clone(&payments)));
    assert!(ask().await.headers().contains_key("reached"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(refused(&ask().await).0.code(), Code::PermissionDenied);
    clock.set(payments.not_before() - Duration::from_secs(1));
    assert_eq!(refused(&ask().await).0.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_real_certificate_meets_the_pins_of_its_own_key_and_fingerprint_and_no_others() {
    let payments = peer("spiffe://shop.example/payments");
    for (key, pin) in [("spki_sha256", payments.spki_sha256()), ("cert_sha256", payments.fingerprint())] {
        let text = format!(
            "[roles]\nledger-writer = [{{ caller = \"spiffe://shop.example/payments\", {key} = {pin:?} }}]\n"
        );
        let layer = layer(PolicyHandle::fixed(policy(&text)), Arc::default());
        let own = call(&layer, POST, |extensions| _ = extensions.insert(Arc::clone(&payments))).await;
        assert!(own.headers().contains_key("reached"), "{key}");
        let other = call_as(&layer, POST, "spiffe://shop.example/payments").await;
        assert_eq!(refused(&other).0.code(), Code::PermissionDenied, "{key}");
    }
}
