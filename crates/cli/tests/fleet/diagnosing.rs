//! `check` and `explain` against everybody they ask.

use crate::world::*;
use avouch_api::observe::v1::{Connection, Decision, Record};
use tokio::net::TcpListener;

const DECISION: &str = "d-00000000000000ab";

fn ledger() -> Says {
    let decision = Decision {
        id: DECISION.to_owned(),
        time: "2027-01-15T08:00:00.000Z".to_owned(),
        peer: id("reports"),
        method: "/market.ledger.v1.Ledger/Post".to_owned(),
        verdict: "refused".to_owned(),
        reason: "ROLE_MISSING".to_owned(),
        need: vec!["ledger-writer".to_owned()],
        ..Decision::default()
    };
    let connection = Connection {
        id: "conn-00000000000000ab".to_owned(),
        time: "2027-01-15T08:00:00.000Z".to_owned(),
        peer_address: "192.0.2.7:41234".to_owned(),
        verdict: "refused".to_owned(),
        reason: "CERT_UNTRUSTED".to_owned(),
        ..Connection::default()
    };
    let records = vec![
        Record { decision: Some(decision), connection: None },
        Record { decision: None, connection: Some(connection) },
    ];
    Says { records, ..Says::nothing("ledger") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_found_at_whoever_refused_it() {
    let world = World::new().await;
    world.register("operator").await;
    let _orders = Workload::start(&world, Says::nothing("orders"), FOR_OPERATORS).await;
    let _ledger = Workload::start(&world, ledger(), FOR_OPERATORS).await;
    world.listed(2).await;

    let output = world.avouch(&["explain", DECISION]).await;
    let head = format!("DENIED {} → {} /market.ledger.v1.Ledger/Post\n", id("reports"), id("ledger"));
    assert!(output.status.success() && stdout(&output).starts_with(&head), "{output:?}");
    let output = world.avouch(&["explain", "192.0.2.7:41234", "--json"]).await;
    assert_eq!(json(&output)["server"], id("ledger"), "{output:?}");

    let output = world.avouch(&["explain", "d-ffffffffffffffff"]).await;
    let said = stderr(&output);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    for part in
        ["nobody who answered has a record of d-ffffffffffffffff", &id("orders"), &id("ledger"), "the issuer"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_is_gone_is_named_with_its_address_and_nothing_else_is_said_of_it() {
    let world = World::new().await;
    world.register("operator").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    world.register("ledger").await;
    let _identity = world.identity("ledger", std::slice::from_ref(&gone), None).await;
    world.listed(1).await;

    let output = world.avouch(&["check", "--json"]).await;
    let report = json(&output);
    let check = |wanted: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == wanted).unwrap().clone()
    };
    assert_eq!((output.status.code(), &report["ok"]), (Some(1), &false.into()), "{report:#}");
    assert_eq!(check("AV-501")["findings"][0]["subject"], format!("{} ({gone})", id("ledger")));
    assert_eq!(check("AV-401")["because_of"], "AV-501", "{report:#}");
    for good in ["AV-101", "AV-103", "AV-104", "AV-502", "AV-602", "AV-701"] {
        assert_eq!(check(good)["level"], "good", "{good}: {report:#}");
    }
    assert_eq!(world.avouch(&["check", "--only", "AV-101"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_that_is_the_cause_and_the_workloads_are_its_symptoms() {
    let world = World::new().await;
    let _ledger = Workload::start(&world, ledger(), FOR_OPERATORS).await;
    world.listed(1).await;
    let output = world.avouch(&["check"]).await;
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("× AV-502") && !text.contains("× AV-501"), "{text}");
    assert!(text.contains("because of AV-502 not shown:"), "{text}");
}
