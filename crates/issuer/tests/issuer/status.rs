//! What the issuer tells its local administrator of itself.

use crate::harness::{ORDERS, World, eventually};
use avouch_api::admin::v1::*;
use avouch_api::observe::v1 as observe;
use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use avouch_issuer::Process;
use std::sync::Arc;
use tonic::Code;

async fn status(world: &World) -> observe::Issuer {
    let answer = world.admin().await.get_status(GetStatusRequest {}).await.unwrap();
    answer.into_inner().issuer.unwrap()
}

/// A workload as services are: it follows the trust stream and says where it can be reached.
async fn workload(world: &World, addresses: &[&str]) -> Identity {
    let token = world.token(ORDERS).await;
    let config = IdentityConfig::Issuer(IssuerConfig {
        address: world.address.to_string(),
        join_token_file: None,
        state_dir: None,
        addresses: addresses.iter().map(|at| (*at).to_owned()).collect(),
        timeout: std::time::Duration::from_secs(5),
    });
    Identity::starter(config).join_token(token).start().await.unwrap()
}

#[tokio::test]
async fn its_status_names_its_authorities_its_store_its_disk_and_how_to_reach_it() {
    let world = World::new().await;
    world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let issuer = status(&world).await;
    let process = issuer.process.unwrap();
    assert_eq!(process.spiffe_id, "spiffe://market.example/avouch/issuer");
    assert_eq!(issuer.addresses, [world.address.to_string()]);
    assert_eq!((issuer.entries, issuer.certificates, issuer.store_problem.as_str()), (1, 2, ""));
    let root = &process.bundle.unwrap().roots[0];
    assert_eq!(issuer.signing.len(), 1);
    assert_ne!(issuer.signing[0].fingerprint, root.fingerprint);
    assert!(issuer.signing[0].not_after < root.not_after, "both in the same format");
    let disk = &process.disks[0];
    assert_eq!(disk.path, world.config.data_dir.display().to_string());
    assert!(disk.free_bytes > 0 && disk.problem.is_empty());
}

#[tokio::test]
async fn an_advertised_address_stands_before_the_one_it_listens_on() {
    let at = || vec!["issuer.market.example:7000".to_owned()];
    let world = World::hosted(move |issuer| issuer.with_addresses(at())).await;
    assert_eq!(status(&world).await.addresses, ["issuer.market.example:7000"]);
}

#[tokio::test]
async fn workloads_are_listed_with_where_they_say_they_are() {
    let world = World::new().await;
    world.entry(ORDERS).await;
    let list = async || {
        let answer = world.admin().await.list_workloads(ListWorkloadsRequest::default()).await.unwrap();
        answer.into_inner().workloads
    };
    assert!(list().await.is_empty());
    let _first = workload(&world, &["127.0.0.1:7001"]).await;
    let _second = workload(&world, &["127.0.0.1:7002", "[::1]:7002"]).await;
    let found = eventually("both acknowledgements", async || {
        let found = list().await;
        (found.len() == 2).then_some(found)
    })
    .await;
    // They are listed by their processes, whose ids are random.
    let mut addresses: Vec<_> = found.iter().map(|workload| workload.addresses.clone()).collect();
    addresses.sort();
    assert_eq!(addresses, [vec!["127.0.0.1:7001"], vec!["127.0.0.1:7002", "[::1]:7002"]]);
    for workload in found {
        assert_eq!((workload.spiffe_id.as_str(), workload.bundle_sequence), (ORDERS, 1));
        assert!(workload.seen_at.ends_with('Z') && workload.seen_at.len() == 24, "{}", workload.seen_at);
    }
}

#[tokio::test]
async fn a_workload_that_learns_its_address_later_tells_it_on_the_stream_that_is_open() {
    let world = World::new().await;
    world.entry(ORDERS).await;
    let list = async || {
        let answer = world.admin().await.list_workloads(ListWorkloadsRequest::default()).await.unwrap();
        answer.into_inner().workloads
    };
    let (late, told) = (workload(&world, &[]).await, workload(&world, &["127.0.0.1:7001"]).await);
    eventually("the stream is open", async || (list().await.len() == 2).then_some(())).await;
    late.advertise(vec!["127.0.0.1:7002".to_owned()]);
    // What the configuration says stays.
    told.advertise(vec!["127.0.0.1:7003".to_owned()]);
    let found = eventually("the late address", async || {
        let addresses: Vec<_> = list().await.into_iter().flat_map(|workload| workload.addresses).collect();
        addresses.contains(&"127.0.0.1:7002".to_owned()).then_some(addresses)
    })
    .await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&"127.0.0.1:7001".to_owned()), "{found:?}");
}

#[tokio::test]
async fn what_the_issuer_refuses_is_among_the_records_with_what_its_caller_is_not_told() {
    use avouch_records::{Matcher, Recorder, RecordsConfig};
    let methods = avouch_authz::Methods::new(&[&avouch_api::CONTRACT]).unwrap();
    let recorder = Recorder::builder(RecordsConfig::default(), methods).start().unwrap();
    let of_the_process = recorder.clone();
    let world = World::hosted(move |issuer| issuer.with_recorder(of_the_process.clone())).await;
    let token = world.invited(ORDERS).await;
    world.enroll(&token).await.unwrap();
    let refusal = world.enroll(&token).await.map(|held| held.serial()).unwrap_err();
    let records = recorder.list(&Matcher::default(), usize::MAX);
    let decision = records.last().unwrap().decision.clone().unwrap();
    assert_eq!(decision.method, "/avouch.issuer.v1.Issuer/Enroll");
    assert_eq!((decision.peer.as_str(), decision.verdict.as_str()), ("anonymous", "refused"));
    assert_eq!(decision.reason, "JOIN_TOKEN_ALREADY_USED");
    let details = tonic_types::StatusExt::get_details_request_info(&refusal).unwrap();
    assert_eq!(decision.id, details.request_id);
    assert!(decision.connection_id.starts_with("conn-") && !decision.detail.is_empty(), "{decision:?}");
    assert!(!decision.detail.contains(token.secret()), "{decision:?}");
}

/// A process with one record, which says what it was asked.
#[derive(Debug)]
struct Recorder;

impl Process for Recorder {
    fn status(&self) -> observe::Status {
        let disks = vec![observe::Disk { path: "/var/log/avouch".to_owned(), ..Default::default() }];
        observe::Status {
            service: "issuer".to_owned(),
            phase: "serving".to_owned(),
            disks,
            ..Default::default()
        }
    }

    fn records(&self, filter: &observe::Filter, limit: Option<usize>) -> Vec<observe::Record> {
        let detail = format!("{} {:?}", filter.about, limit);
        let decision = observe::Decision { detail, ..Default::default() };
        vec![observe::Record { decision: Some(decision), connection: None }]
    }
}

#[tokio::test]
async fn what_its_process_knows_is_told_with_what_only_the_issuer_knows() {
    let world = World::new().await;
    let request = |limit| ListRecordsRequest {
        filter: Some(observe::Filter { about: ORDERS.to_owned(), refused_only: true }),
        limit,
    };
    let mut admin = world.admin().await;
    assert!(admin.list_records(request(0)).await.unwrap().into_inner().records.is_empty());

    let world = World::hosted(|issuer| issuer.with_process(Arc::new(Recorder))).await;
    let mut admin = world.admin().await;
    for (limit, expected) in [(0, format!("{ORDERS} None")), (7, format!("{ORDERS} Some(7)"))] {
        let found = admin.list_records(request(limit)).await.unwrap().into_inner().records;
        assert_eq!(found[0].decision.as_ref().unwrap().detail, expected);
    }
    let process = status(&world).await.process.unwrap();
    assert_eq!(process.phase, "serving");
    assert_eq!(process.bundle.unwrap().sequence, 1);
    let paths: Vec<_> = process.disks.iter().map(|disk| disk.path.clone()).collect();
    assert_eq!(paths, [world.config.data_dir.display().to_string(), "/var/log/avouch".to_owned()]);
}

#[tokio::test]
async fn nobody_but_the_local_administrator_is_told() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let channel = world.connect(Some(&held)).await.into_channel();
    let mut over_tls = admin_client::AdminClient::new(channel);
    let refusals = [
        over_tls.get_status(GetStatusRequest {}).await.unwrap_err(),
        over_tls.list_workloads(ListWorkloadsRequest::default()).await.unwrap_err(),
        over_tls.list_records(ListRecordsRequest::default()).await.unwrap_err(),
    ];
    assert!(refusals.iter().all(|status| status.code() == Code::PermissionDenied), "{refusals:?}");
}

#[tokio::test]
async fn whoever_waits_no_longer_is_told_why_there_is_no_identity() {
    let mut world = World::new().await;
    let token = world.invited(ORDERS).await;
    world.stop().await;
    let config = IdentityConfig::Issuer(IssuerConfig {
        address: world.address.to_string(),
        join_token_file: None,
        state_dir: None,
        addresses: Vec::new(),
        timeout: std::time::Duration::from_secs(1),
    });
    let patience = std::time::Duration::from_millis(700);
    let error =
        Identity::starter(config).join_token(token).start_timeout(patience).start().await.unwrap_err();
    let text = avouch_text::with_causes(&error).to_string();
    assert!(text.contains("could not enroll") && text.contains("Connection refused"), "{text}");
}
