//! What a process remembers, asked for over real mutual TLS by those who may, and by those who may not.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{
    Connection, Decision, Filter, GetPolicyRequest, GetStatusRequest, ListEdgesRequest, ListRecordsRequest,
    Record, Status, WatchRecordsRequest,
};
use avouch_service::identity::{Channel, Identity, reason};
use avouch_service::{Boot, ServeError};
use avouch_spiffe::Reason;
use avouch_spiffe::contract::{Contract, MethodRule, Rule};
use support::{Ca, appears, channel, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const HOUR: Duration = Duration::from_secs(3600);
const APPEND: &str = "/market.ledger.v1.Ledger/Append";
const CONTRACT: Contract = Contract {
    name: "test",
    methods: &[MethodRule {
        path: APPEND,
        rule: Rule::Roles(&["ledger-writer"]),
        client_streaming: false,
        server_streaming: false,
    }],
};
const POLICY: &str = "[roles]\noperator = ['spiffe://market.example/operator']\n";

struct World {
    ca: Ca,
    grpc: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl World {
    /// A process called `orders`, whose operator is `operator`.
    async fn new(more: &str) -> Self {
        Self::with("", more).await
    }

    /// With more in `[service]`, and more after it.
    async fn with(service: &str, more: &str) -> Self {
        let ca = Ca::new();
        let (address_file, policy) = (ca.path("address.json"), ca.install("policy.toml", POLICY));
        let more = more.replace("DIR", ca.directory.path().to_str().unwrap());
        let config = format!(
            "{}[telemetry]\nlog_format = 'off'\n[service]\naddress_file = {address_file:?}\n{service}[authz]\n\
             policy = {policy:?}\nwatch_interval = '50ms'\n{more}",
            ca.svid("orders", HOUR)
        );
        let boot = Boot::new("orders", &[&CONTRACT], &ca.launch(&config)).await.unwrap();
        let app = boot.start().await.unwrap();
        let stop = app.stopping();
        let serving = tokio::spawn(app.serve(Routes::default()));
        let text = appears(&ca.path("address.json")).await;
        let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
        let grpc = addresses["grpc"].as_str().unwrap().parse().unwrap();
        Self { ca, grpc, stop, serving }
    }

    async fn identity(&self, name: &str) -> Identity {
        let section = self.ca.svid(name, HOUR);
        let launch = self.ca.launch(&format!("{section}[telemetry]\nlog_format = 'off'\n"));
        Boot::new("client", &[], &launch).await.unwrap().start().await.unwrap().identity().clone()
    }

    async fn ask(&self, name: &str) -> ObserveClient<Channel> {
        ObserveClient::new(channel(&self.identity(name).await, self.grpc))
    }

    async fn end(self) -> Ca {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        self.ca
    }
}

async fn status(client: &mut ObserveClient<Channel>) -> Status {
    client.get_status(GetStatusRequest {}).await.unwrap().into_inner().status.unwrap()
}

async fn list(client: &mut ObserveClient<Channel>, refused_only: bool, about: &str) -> Vec<Record> {
    let filter = Some(Filter { refused_only, about: about.to_owned() });
    let request = ListRecordsRequest { filter, limit: 0 };
    client.list_records(request).await.unwrap().into_inner().records
}

/// Calls what only a ledger serves.
async fn append(channel: &Channel) -> tonic::Status {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let request = tonic::Request::new(HealthCheckRequest::default());
    grpc.unary(request, http::uri::PathAndQuery::from_static(APPEND), codec).await.map(drop).unwrap_err()
}

fn decisions(records: Vec<Record>) -> Vec<Decision> {
    records.into_iter().filter_map(|record| record.decision).collect()
}

fn connections(records: Vec<Record>) -> Vec<Connection> {
    records.into_iter().filter_map(|record| record.connection).collect()
}

#[tokio::test]
async fn an_operator_is_told_what_the_process_is_and_how_it_is_doing() {
    let world =
        World::new("[upstreams.ledger]\nurl = 'https://ledger:1'\nid = 'spiffe://market.example/ledger'\n")
            .await;
    let mut operator = world.ask("operator").await;
    let told = status(&mut operator).await;
    assert_eq!((told.service.as_str(), told.phase.as_str()), ("orders", "serving"));
    assert_eq!(told.spiffe_id, "spiffe://market.example/orders");
    assert_eq!(told.listen, world.grpc.to_string());
    assert_eq!(told.trust_stream, "none");
    let (svid, bundle) = (told.svid.unwrap(), told.bundle.unwrap());
    assert!(svid.key_matches && !svid.serial.is_empty() && svid.not_before < svid.not_after);
    assert_eq!((bundle.trust_domain.as_str(), bundle.roots.len()), ("market.example", 1));
    assert_eq!(bundle.roots[0].fingerprint.len(), 64);
    assert_eq!(told.last_renewal.unwrap().how, "files");
    let listener = told.listener.unwrap();
    assert_eq!(listener.tls_versions, ["TLSv1_3"]);
    assert_eq!(listener.groups[0], "X25519MLKEM768");
    assert!(!listener.resumption && !listener.optional_client_certificate);
    assert_eq!(told.upstreams[0].name, "ledger");
    assert_eq!(told.records.unwrap().capacity, 1024);

    let policy = operator.get_policy(GetPolicyRequest {}).await.unwrap().into_inner();
    let current = policy.current.unwrap();
    assert_eq!((current.text.as_str(), policy.previous), (POLICY, None));
    assert_eq!(Some(&current.version), told.policy.as_ref().map(|policy| &policy.version));
    let append = policy.methods.iter().find(|method| method.path == APPEND).unwrap();
    assert_eq!(append.roles, ["ledger-writer"]);

    world.ca.install("policy.toml", "[roles]\noperatr = []\n");
    until("the bad policy is noticed", || {
        let mut operator = operator.clone();
        async move { status(&mut operator).await.policy.unwrap().problem.contains("operatr") }
    })
    .await;
    world.ca.install("policy.toml", &format!("{POLICY}# new\n"));
    until("the next policy is in force", || {
        let mut operator = operator.clone();
        async move {
            let policy = operator.get_policy(GetPolicyRequest {}).await.unwrap().into_inner();
            policy.previous.is_some_and(|previous| previous.text == POLICY)
        }
    })
    .await;
    assert_eq!(status(&mut operator).await.policy.unwrap().problem, "");

    // A reload that fails names its cause: not only that the file cannot be read, but why.
    let file = world.ca.path("policy.toml");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    until("the directory is noticed", || {
        let mut operator = operator.clone();
        async move {
            let problem = status(&mut operator).await.policy.unwrap().problem;
            problem.ends_with("policy.toml cannot be read: it is a directory, not a regular file")
        }
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn nobody_without_the_role_reads_anything_and_the_attempt_is_on_record_at_once() {
    let world = World::new("").await;
    let mut stranger = world.ask("stranger").await;
    let mut operator = world.ask("operator").await;
    let refusals = [
        stranger.get_status(GetStatusRequest {}).await.map(drop).unwrap_err(),
        stranger.get_policy(GetPolicyRequest {}).await.map(drop).unwrap_err(),
        stranger.list_edges(ListEdgesRequest {}).await.map(drop).unwrap_err(),
        stranger.list_records(ListRecordsRequest::default()).await.map(drop).unwrap_err(),
        stranger.watch_records(WatchRecordsRequest::default()).await.map(drop).unwrap_err(),
    ];
    for refusal in &refusals {
        assert_eq!(reason(refusal), Some(Reason::RoleMissing), "{refusal:?}");
        assert!(!refusal.message().contains("market.example"), "{refusal:?}");
    }
    let seen = decisions(list(&mut operator, true, "spiffe://market.example/stranger").await);
    assert_eq!(seen.len(), refusals.len());
    for (seen, refusal) in seen.iter().zip(&refusals) {
        assert_eq!((seen.verdict.as_str(), seen.reason.as_str()), ("refused", "ROLE_MISSING"));
        assert_eq!((seen.need.join(" "), seen.have.len()), ("debug operator".to_owned(), 0));
        assert!(refusal.message().contains(&seen.id), "{} {refusal:?}", seen.id);
        assert!(seen.place.ends_with("policy.toml:2"), "{}", seen.place);
        assert_eq!(decisions(list(&mut operator, false, &seen.id).await), std::slice::from_ref(seen));
    }
    // The connection it came over, by the connection's id and by the caller's address.
    let of_id = connections(list(&mut operator, false, &seen[0].connection_id).await);
    assert_eq!(of_id.len(), 1);
    assert_eq!(of_id[0].peer_id, "spiffe://market.example/stranger");
    assert_eq!((of_id[0].tls_version.as_str(), of_id[0].group.as_str()), ("TLSv1_3", "X25519MLKEM768"));
    assert!(!of_id[0].peer_authority.is_empty() && of_id[0].handshake_micros > 0);
    let of_address = list(&mut operator, false, &of_id[0].peer_address).await;
    assert_eq!(of_address.len(), 1 + refusals.len());
    let of_serial = list(&mut operator, false, &of_id[0].peer_serial.to_ascii_uppercase()).await;
    assert_eq!(of_serial.len(), of_address.len());
    world.end().await;
}

#[tokio::test]
async fn what_audit_mode_lets_through_is_on_record_as_that() {
    let world = World::new("").await;
    let mut operator = world.ask("operator").await;
    let stranger = channel(&world.identity("stranger").await, world.grpc);
    assert_eq!(reason(&append(&stranger).await), Some(Reason::RoleMissing));
    world.ca.install("policy.toml", &format!("mode = \"audit\"\n{POLICY}"));
    until("the policy only records", || {
        let mut operator = operator.clone();
        async move { status(&mut operator).await.policy.unwrap().audit }
    })
    .await;
    // Nobody serves it here, which who is let through learns; what debugging asks for is never let through.
    assert_eq!(append(&stranger).await.code(), tonic::Code::Unimplemented);
    let seen = decisions(list(&mut operator, true, "spiffe://market.example/stranger").await);
    let verdicts: Vec<_> = seen.iter().map(|seen| (seen.verdict.as_str(), seen.reason.as_str())).collect();
    assert_eq!(verdicts, [("refused", "ROLE_MISSING"), ("audited", "ROLE_MISSING")]);
    assert!(seen[1].id.starts_with("d-") && seen[1].need == ["ledger-writer"], "{seen:?}");
    let edges = operator.list_edges(ListEdgesRequest {}).await.unwrap().into_inner().edges;
    let edge = edges.iter().find(|edge| edge.peer_id.ends_with("/stranger")).unwrap();
    assert_eq!((edge.allowed, edge.audited, edge.refused, edge.failed), (1, 1, 1, 1));
    world.end().await;
}

#[tokio::test]
async fn who_called_what_is_counted_with_its_failures_and_refusals_apart() {
    let world = World::new("").await;
    let mut operator = world.ask("operator").await;
    let caller = channel(&world.identity("caller").await, world.grpc);
    let mut health = HealthClient::new(caller.clone());
    for _ in 0..3 {
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
    health.check(HealthCheckRequest { service: "absent".into() }).await.unwrap_err();
    ObserveClient::new(caller).get_status(GetStatusRequest {}).await.unwrap_err();
    let edges = operator.list_edges(ListEdgesRequest {}).await.unwrap().into_inner().edges;
    let of = |method: &str| {
        let found = edges
            .iter()
            .find(|edge| edge.peer_id == "spiffe://market.example/caller" && edge.method.ends_with(method));
        let edge = found.unwrap_or_else(|| panic!("no edge to {method} in {edges:?}"));
        (edge.allowed, edge.failed, edge.refused)
    };
    assert_eq!(of("/Check"), (4, 1, 0));
    assert_eq!(of("/GetStatus"), (0, 0, 1));
    let check = edges.iter().find(|edge| edge.method.ends_with("/Check")).unwrap();
    assert_eq!((check.tls_version.as_str(), check.group.as_str()), ("TLSv1_3", "X25519MLKEM768"));
    assert!(!check.peer_not_after.is_empty() && check.since <= check.last_at);
    world.end().await;
}

#[tokio::test]
async fn who_watches_sees_refusals_as_they_come_until_the_process_drains() {
    let world = World::new("").await;
    let mut operator = world.ask("operator").await;
    let filter = Some(Filter { refused_only: true, about: String::new() });
    let mut records = operator.watch_records(WatchRecordsRequest { filter }).await.unwrap().into_inner();
    let refusal = world.ask("stranger").await.get_status(GetStatusRequest {}).await.unwrap_err();
    let seen =
        tokio::time::timeout(Duration::from_secs(10), records.message()).await.unwrap().unwrap().unwrap();
    let decision = seen.record.unwrap().decision.unwrap();
    assert!(refusal.message().contains(&decision.id));
    assert_eq!(seen.missed, 0);
    world.stop.cancel();
    assert_eq!(records.message().await.unwrap(), None);
    world.end().await;
}

#[tokio::test]
async fn the_streams_of_one_caller_are_bounded_and_those_that_end_make_room() {
    let world = World::new("").await;
    let mut operator = world.ask("operator").await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(operator.watch_records(WatchRecordsRequest::default()).await.unwrap());
    }
    let refused = operator.watch_records(WatchRecordsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::RateLimited), "{refused:?}");
    open.pop();
    until("there is room again", || {
        let mut operator = operator.clone();
        async move { operator.watch_records(WatchRecordsRequest::default()).await.is_ok() }
    })
    .await;
    drop(open);
    world.end().await;
}

#[tokio::test]
async fn an_operator_is_told_which_file_of_the_identity_is_not_used_and_why() {
    let world = World::new("").await;
    let mut operator = world.ask("operator").await;
    let told = status(&mut operator).await;
    assert!(told.identity_problems.is_empty(), "{told:?}");
    let other = Ca::new();
    other.svid("orders", HOUR);
    let path = world.ca.path("bundle.pem");
    let kept = std::fs::read_to_string(&path).unwrap();
    world.ca.write("bundle.pem", &std::fs::read_to_string(other.path("bundle.pem")).unwrap());
    world.ca.write("orders.pem", "no certificate");
    let told = told_when(&mut operator, |told| told.identity_problems.len() == 2).await;
    let [certificate, bundle] = told.identity_problems.as_slice() else { panic!("{told:?}") };
    assert_eq!((certificate.part.as_str(), bundle.part.as_str()), ("certificate", "bundle"));
    assert_eq!(bundle.path, path.display().to_string());
    assert_eq!((bundle.reason.as_str(), certificate.reason.as_str()), ("CERT_UNTRUSTED", ""));
    assert!(bundle.detail.contains("does not vouch for the SVID in use"), "{bundle:?}");
    assert!(certificate.detail.contains("text without a BEGIN line"), "{certificate:?}");
    assert!(!bundle.since.is_empty() && told.svid.unwrap().key_matches);
    assert_eq!(told.last_renewal.unwrap().error, certificate.detail);
    world.ca.write("bundle.pem", &kept);
    world.ca.svid("orders", HOUR);
    let told = told_when(&mut operator, |told| told.identity_problems.is_empty()).await;
    assert_eq!(told.last_renewal.unwrap().error, "");
    world.end().await;
}

/// Asks until the answer fits.
async fn told_when(client: &mut ObserveClient<Channel>, fits: impl Fn(&Status) -> bool) -> Status {
    for _ in 0..600 {
        let told = status(client).await;
        if fits(&told) {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not told: {:?}", status(client).await);
}

#[tokio::test]
async fn records_are_written_to_a_file_of_ones_own_and_the_last_ones_too() {
    let world = World::new("[records]\nfile = 'DIR/records.jsonl'\ndecisions = 'all'\n").await;
    let told = status(&mut world.ask("operator").await).await;
    let directory = world.ca.directory.path().to_str().unwrap().to_owned();
    assert_eq!(told.records.unwrap().file, format!("{directory}/records.jsonl"));
    assert!(
        told.disks.iter().any(|disk| disk.path == directory && disk.problem.is_empty()),
        "{:?}",
        told.disks
    );
    let refusal = world.ask("stranger").await.get_status(GetStatusRequest {}).await.unwrap_err();
    let ca = world.end().await;
    let path = ca.path("records.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    let records: Vec<Record> =
        text.lines().filter_map(|line| avouch_service::records::json_line::parse(line).unwrap()).collect();
    let written = decisions(records.clone());
    let refused = written.iter().find(|decision| decision.verdict == "refused").unwrap();
    assert!(refusal.message().contains(&refused.id));
    assert!(written.iter().any(|decision| decision.verdict == "allowed" && decision.have == ["operator"]));
    assert_eq!(connections(records).len(), 2);
    for secret in ["BEGIN", "PRIVATE", "MII"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn streams_that_are_over_because_a_connection_retired_or_the_caller_left_have_not_failed() {
    // Connections live for a second; what they carry then has two for its end.
    let limits = "[service.limits]\nmax_connection_age = '1s'\n";
    let world = World::with("drain_timeout = '400ms'\n", limits).await;
    let mut operator = world.ask("operator").await;
    let mut health = HealthClient::new(channel(&world.identity("caller").await, world.grpc));
    let watch = async |health: &mut HealthClient<Channel>| {
        let mut states = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        states.message().await.unwrap().unwrap();
        states
    };
    drop(watch(&mut health).await);
    let mut states = watch(&mut health).await;
    let retired = loop {
        match states.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&retired), Some(Reason::ConnectionRetiring), "{retired:?}");
    // One that the service itself ends badly.
    health.check(HealthCheckRequest { service: "absent".into() }).await.unwrap_err();
    let counted = async |operator: &mut ObserveClient<Channel>, method: &str| {
        let edges = operator.list_edges(ListEdgesRequest {}).await.unwrap().into_inner().edges;
        let edge =
            edges.into_iter().find(|it| it.peer_id.ends_with("/caller") && it.method.ends_with(method));
        edge.map(|edge| (edge.allowed, edge.retired, edge.failed)).unwrap()
    };
    // The one that was dropped is seen to be over a moment later.
    until("both streams are over", || {
        let mut operator = operator.clone();
        async move { counted(&mut operator, "/Watch").await == (2, 2, 0) }
    })
    .await;
    assert_eq!(counted(&mut operator, "/Check").await, (1, 0, 1));
    world.end().await;
}
