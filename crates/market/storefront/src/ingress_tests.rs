use avouch_authz::{Methods, Policy};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::totals::tests::FakeOrders;

const ORDER: &str = include_str!("../../../../deploy/demo/order.json");

/// An identity as the identity library's server hands it on.
fn peer(path: &str) -> Arc<PeerIdentity> {
    Arc::new(avouch_testkit::ca::peer(&format!("spiffe://market.example/{path}"), ""))
}

fn policy() -> PolicyHandle {
    let methods = Methods::new(&[&market_api::CONTRACT]).unwrap();
    let text = include_str!("../../../../deploy/demo/policy.toml");
    PolicyHandle::fixed(Policy::load("policy.toml", text, &methods).unwrap())
}

async fn call(
    client: &FakeOrders,
    peer: Option<&str>,
    method: &str,
    uri: &str,
    body: String,
) -> (u16, serde_json::Value) {
    let ingress = Ingress {
        client: client.clone(),
        policy: policy(),
        decisions: DecisionIds::seeded(0),
        tracing: Tracing::off(),
    };
    let request = http::Request::builder().method(method).uri(uri);
    let mut request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
    if let Some(path) = peer {
        request.extensions_mut().insert(self::peer(path));
    }
    let response = router(ingress).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null))
}

#[tokio::test]
async fn a_shopper_places_an_order_and_asks_for_it() {
    let client = FakeOrders::default();
    let (status, answer) = call(&client, Some("dev"), "POST", "/orders", ORDER.to_owned()).await;
    assert_eq!((status, answer["state"].as_str()), (200, Some("COMPLETED")));
    assert_eq!(answer["total_minor"], 3390);
    let (status, answer) = call(&client, Some("dev"), "GET", "/orders/curl-0001", String::new()).await;
    assert_eq!((status, answer["state"].as_str()), (200, Some("COMPLETED")));
}

#[tokio::test]
async fn other_roles_and_callers_without_an_identity_are_refused_before_the_body_is_read() {
    let client = FakeOrders::default();
    for (peer, status, error) in [
        (None, 401, "NO_PEER_IDENTITY"),
        (Some("intern"), 403, "ROLE_MISSING"),
        (Some("storefront"), 403, "ROLE_MISSING"),
        (Some("auditor"), 403, "ROLE_MISSING"),
        (Some("dev/other"), 403, "ROLE_MISSING"),
        (Some("quarantine/dev"), 403, "DENY_RULE_MATCHED"),
    ] {
        for (method, uri) in [("POST", "/orders"), ("GET", "/orders/o-1")] {
            let (got, answer) = call(&client, peer, method, uri, "not even json".to_owned()).await;
            assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{peer:?} {method}");
            assert_eq!(answer["decision_id"], "d-e220a8397b1dcdaf");
        }
    }
    assert!(client.orders().is_empty());
}

#[tokio::test]
async fn headers_that_claim_an_identity_are_not_believed() {
    let ingress = Ingress {
        client: FakeOrders::default(),
        policy: policy(),
        decisions: DecisionIds::seeded(0),
        tracing: Tracing::off(),
    };
    let request = http::Request::post("/orders")
        .header("x-forwarded-client-cert", "URI=spiffe://market.example/dev")
        .header("x-spiffe-id", "spiffe://market.example/dev")
        .body(Body::from(ORDER))
        .unwrap();
    assert_eq!(router(ingress).oneshot(request).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_body_that_is_no_order_or_too_large_is_refused() {
    let client = FakeOrders::default();
    let (status, answer) = call(&client, Some("dev"), "POST", "/orders", "{".to_owned()).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("MALFORMED")));
    let (status, answer) = call(&client, Some("dev"), "POST", "/orders", " ".repeat(MAX_BODY + 1)).await;
    assert_eq!((status, answer["error"].as_str()), (413, Some("TOO_LARGE")));
    assert!(client.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for_for_ever() {
    let client = FakeOrders::default();
    let ingress = Ingress {
        client: client.clone(),
        policy: policy(),
        decisions: DecisionIds::seeded(0),
        tracing: Tracing::off(),
    };
    // Each byte arrives in time, but the whole body does not.
    let drops = tokio_stream::StreamExt::throttle(
        tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(" "))),
        Duration::from_secs(1),
    );
    let request = http::Request::post("/orders").header("content-type", "application/json");
    let mut request = request.body(Body::from_stream(drops)).unwrap();
    request.extensions_mut().insert(peer("dev"));
    let begun = tokio::time::Instant::now();
    assert_eq!(router(ingress).oneshot(request).await.unwrap().status(), 408);
    assert!(begun.elapsed() < BODY_TIMEOUT + Duration::from_secs(1));
    assert!(client.orders().is_empty());
}

#[tokio::test]
async fn verdicts_on_an_order_reach_the_shopper_and_troubles_of_the_shop_do_not() {
    for (status, http, error) in [
        (Status::invalid_argument("line 1: no"), 400, "INVALID_ORDER"),
        (Status::already_exists("taken"), 409, "ORDER_ID_TAKEN"),
        (Status::unavailable("secret"), 503, "UNAVAILABLE"),
        (Status::permission_denied("secret"), 503, "UNAVAILABLE"),
        (Status::internal("secret"), 503, "UNAVAILABLE"),
    ] {
        let client = FakeOrders::default();
        client.fail("curl-0001", [status]);
        let (got, answer) = call(&client, Some("dev"), "POST", "/orders", ORDER.to_owned()).await;
        assert_eq!((got, answer["error"].as_str()), (http, Some(error)));
        assert!(!answer.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn an_order_that_is_not_final_is_accepted() {
    let client = FakeOrders::default();
    client.pending("curl-0001", 1);
    let (status, answer) = call(&client, Some("dev"), "POST", "/orders", ORDER.to_owned()).await;
    assert_eq!((status, answer["state"].as_str()), (202, Some("RECEIVED")));
}

#[tokio::test]
async fn an_order_nobody_placed_is_not_found_and_other_paths_do_not_exist() {
    let client = FakeOrders::default();
    let (status, answer) = call(&client, Some("dev"), "GET", "/orders/none", String::new()).await;
    assert_eq!((status, answer["error"].as_str()), (404, Some("NO_SUCH_ORDER")));
    for (method, uri, status) in [("GET", "/", 404), ("DELETE", "/orders/o-1", 405), ("GET", "/orders", 405)]
    {
        assert_eq!(call(&client, Some("dev"), method, uri, String::new()).await.0, status);
    }
}

/// A caller without a role gets the same answer for every path, whether it exists and can be parsed or not.
#[tokio::test]
async fn the_policy_is_asked_before_the_path_is_parsed() {
    let client = FakeOrders::default();
    let long = format!("/orders/{}", "x".repeat(8_000));
    let paths = [
        "/orders",
        "/orders/",
        "/orders/curl-0001",
        "/orders/%ff",
        "/orders/%zz",
        "/orders/%00",
        "/orders/..%2f..",
        "/orders/a/b",
        &long,
        "/ordersx",
        "//orders",
        "/",
        "/admin",
        "*",
        "/orders?id=%ff",
    ];
    for (peer, status, error) in [(None, 401, "NO_PEER_IDENTITY"), (Some("intern"), 403, "ROLE_MISSING")] {
        for path in paths {
            for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "QUERY"] {
                let (got, answer) = call(&client, peer, method, path, "junk".to_owned()).await;
                let told = (got, answer["error"].as_str(), answer["message"].as_str());
                let same = (status, Some(error), Some("the policy does not allow this"));
                assert_eq!(told, same, "{peer:?} {method} {path}");
            }
        }
    }
    // A caller with a role is told what is wrong with the path.
    for (path, status) in [("/orders/%ff", 400), ("/orders/%zz", 404), ("/orders/a/b", 404), ("/admin", 404)]
    {
        assert_eq!(call(&client, Some("dev"), "GET", path, String::new()).await.0, status, "{path}");
    }
    assert!(client.orders().is_empty());
}

/// The content types that a web page may send without a CORS preflight (form, form with files, plain text), and invalid
/// ones.
#[tokio::test]
async fn an_order_that_does_not_say_it_is_json_is_not_placed() {
    let client = FakeOrders::default();
    for content_types in [
        &[][..],
        &["text/plain"],
        &["text/plain;charset=utf-8"],
        &["text/plain; application/json"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=x"],
        &[""],
        &["application/jsonx"],
        &["application/json, text/plain"],
        &["application/json", "text/plain"],
        &["text/plain", "application/json"],
    ] {
        let ingress = Ingress {
            client: client.clone(),
            policy: policy(),
            decisions: DecisionIds::seeded(0),
            tracing: Tracing::off(),
        };
        let mut request = http::Request::post("/orders").body(Body::from(ORDER)).unwrap();
        for content_type in content_types {
            request.headers_mut().append("content-type", content_type.parse().unwrap());
        }
        request.extensions_mut().insert(peer("dev"));
        let response = router(ingress).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 415, "{content_types:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["error"], "NOT_JSON");
        assert!(answer["message"].as_str().unwrap().contains("application/json"));
    }
    assert!(client.orders().is_empty());
    for content_type in ["application/json", "Application/JSON", "application/json ; charset=utf-8"] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        assert!(is_json(&headers), "{content_type}");
    }
}

#[test]
fn the_routes_stand_for_rpcs_of_the_contract() {
    for path in [PLACE_ORDER, GET_ORDER] {
        assert!(market_api::CONTRACT.rule(path).is_some(), "{path}");
    }
}
