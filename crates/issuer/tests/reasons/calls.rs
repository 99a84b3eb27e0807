//! The server refuses a call: what the layer has on record under the decision's id, and what the caller gets.

use std::sync::{Arc, Mutex};

use avouch_attacker::certificates::Workshop;
use avouch_authz::layer::{AuthzLayer, DecisionObserver, DeniedCall};
use avouch_authz::{Denial, Methods, Policy, PolicyHandle};
use avouch_identity::{Identity, IdentityFilter, reason};
use avouch_spiffe::Reason;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, ServiceExt};

use crate::harness;
use crate::place::{DOMAIN, Place, id, identity, workshop_leaf};

pub(crate) const STATUS: &str = "/avouch.observe.v1.Observe/GetStatus";
pub(crate) const RENEW: &str = "/avouch.issuer.v1.Issuer/Renew";
pub(crate) const POLICY_NAME: &str = "/etc/avouch/the-policy.toml";
pub(crate) const POLICY: &str = r#"[roles]
operator = ["spiffe://market.example/someone-else"]
debug = ["spiffe://market.example/oncall", "spiffe://foreign.example/oncall"]

[[deny]]
caller = "spiffe://market.example/quarantine/*"

[[deny]]
caller = "spiffe://market.example/oncall"
methods = ["/avouch.issuer.v1.Issuer/Renew"]
"#;

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) reason: Reason,
    caller: &'static str,
    method: &'static str,
    code: Code,
    /// What the record holds: the roles needed and held, and the place in the policy.
    need: &'static [&'static str],
    have: &'static [&'static str],
    place: &'static str,
    /// What the caller's message names.
    says: &'static str,
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        reason: Reason::RoleMissing,
        caller: "/payments",
        method: STATUS,
        code: Code::PermissionDenied,
        need: &["debug", "operator"],
        have: &[],
        place: ":3",
        says: "needs one of [",
    },
    Row {
        reason: Reason::NoAllowRule,
        caller: "/payments",
        method: "/nothing.v1.Nothing/Nothing",
        code: Code::PermissionDenied,
        need: &[],
        have: &[],
        place: "",
        says: "nothing allows the call",
    },
    Row {
        reason: Reason::DenyRuleMatched,
        caller: "/quarantine/x",
        method: RENEW,
        code: Code::PermissionDenied,
        need: &[],
        have: &[],
        place: ":5",
        says: "a deny rule of the policy matched",
    },
    Row {
        reason: Reason::NoPeerIdentity,
        caller: "",
        method: RENEW,
        code: Code::Unauthenticated,
        need: &[],
        have: &[],
        place: "",
        says: "the connection has no peer identity",
    },
    Row {
        reason: Reason::NotReady,
        caller: "/payments",
        method: STATUS,
        code: Code::Unavailable,
        need: &[],
        have: &[],
        place: "",
        says: "not loaded yet",
    },
];

/// Every refusal, by its id.
#[derive(Default)]
pub(crate) struct Decisions(Mutex<Vec<(String, Denial)>>);

impl DecisionObserver for Decisions {
    fn denied(&self, refusal: &DeniedCall<'_>, _: &http::Extensions) {
        self.0.lock().unwrap().push((refusal.decision_id.to_string(), refusal.denial.clone()));
    }
}

impl Decisions {
    pub(crate) fn the_one(&self, id: &str) -> Denial {
        let all = self.0.lock().unwrap();
        let found: Vec<_> = all.iter().filter(|(decision, _)| decision == id).collect();
        assert_eq!(found.len(), 1, "{id}");
        found[0].1.clone()
    }
}

/// A server that decides, in the trust domain of `DOMAIN`, for everybody who can prove who they are, and others.
pub(crate) struct Deciding {
    pub(crate) place: Place,
    pub(crate) decisions: Arc<Decisions>,
}

impl Deciding {
    pub(crate) async fn under(policy: Option<&str>) -> Self {
        Self::trusting(None, policy).await
    }

    /// As above, of a server that admits another trust domain too.
    pub(crate) async fn trusting(foreign: Option<&Workshop>, policy: Option<&str>) -> Self {
        let methods = Methods::new(&[&avouch_api::CONTRACT]).unwrap();
        let handle = match policy {
            Some(text) => PolicyHandle::fixed(Policy::load(POLICY_NAME, text, &methods).unwrap()),
            None => PolicyHandle::pending("/nowhere/policy.toml", methods),
        };
        let decisions = Arc::new(Decisions::default());
        let layer = AuthzLayer::new(handle, DOMAIN.parse().unwrap(), decisions.clone());
        let service = layer.layer(tonic::service::Routes::default());
        let server = avouch_identity::Server::optional_client_certificate;
        let any = IdentityFilter::any_trusted();
        Self { place: Place::trusting(foreign, any, |_| {}, server, service).await, decisions }
    }

    /// A call by `path`, or by nobody.
    pub(crate) async fn call(&self, path: &str, method: &str) -> Answer {
        if path.is_empty() {
            let raw = harness::connect(self.place.address, None).await;
            return Answer::of(raw.into_channel(), method).await;
        }
        let shown = workshop_leaf(&self.place.workshop, path);
        let (_publisher, client) = identity(&self.place.workshop, shown);
        self.call_as(&client, method).await
    }

    pub(crate) async fn call_as(&self, client: &Identity, method: &str) -> Answer {
        let url = format!("https://{}", self.place.address);
        Answer::of(client.channel(&url, id("/server")).build().unwrap(), method).await
    }
}

/// Everything that came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) status: Status,
}

impl Answer {
    pub(crate) async fn of<C, B>(channel: C, method: &str) -> Self
    where
        C: tower::Service<Request<Body>, Response = http::Response<B>, Error: std::fmt::Debug> + Clone,
        B: http_body::Body<Data = bytes::Bytes, Error: std::fmt::Debug>,
    {
        let request = Request::post(method)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::empty())
            .unwrap();
        let (head, body) = channel.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
        let body = body.to_bytes().to_vec();
        Self { headers: head.headers, trailers, body, status: status.expect("a status") }
    }

    pub(crate) fn decision(&self) -> String {
        self.status.get_details_request_info().expect("a decision").request_id
    }
}

async fn check(row: &Row) {
    let policy = (row.reason != Reason::NotReady).then_some(POLICY);
    let deciding = Deciding::under(policy).await;
    let Answer { status, .. } = &deciding.call(row.caller, row.method).await;
    assert_eq!((reason(status), status.code()), (Some(row.reason), row.code), "{row:?}");
    assert!(status.message().contains(row.says), "{row:?}: {}", status.message());

    let decision = status.get_details_request_info().unwrap().request_id;
    assert!(status.message().contains(&decision), "{row:?}: {}", status.message());
    let denial = deciding.decisions.the_one(&decision);
    assert_eq!((denial.reason(), denial.path()), (row.reason, row.method), "{row:?}: {denial}");
    let (mut need, have) = (denial.need().to_vec(), denial.have());
    need.sort_unstable();
    assert_eq!((need.as_slice(), have), (row.need, row.have), "{row:?}: {denial}");
    assert_eq!(denial.peer(), (!row.caller.is_empty()).then(|| id(row.caller)).as_ref());
    let place = denial.location().map(ToString::to_string).unwrap_or_default();
    assert!(place.ends_with(row.place), "{row:?}: {place}");
}

#[tokio::test]
async fn every_refused_call_is_on_record_under_the_id_its_caller_was_told() {
    for row in ROWS {
        check(row).await;
    }
}
