//! Whom a command asks, as who, and what it says of those who do not answer.

use crate::world::*;
use avouch_api::admin::v1::ListCertificatesRequest;
use avouch_api::observe::v1::{Decision, Edge, Record};
use tokio::net::TcpListener;

fn edge(peer: &str, refused: u64) -> Edge {
    Edge {
        peer_id: id(peer),
        method: "/market.orders.v1.Orders/Place".to_owned(),
        allowed: 10,
        refused,
        since: "2027-01-15T08:00:00.000Z".to_owned(),
        tls_version: "TLSv1_3".to_owned(),
        group: "X25519MLKEM768".to_owned(),
        ..Edge::default()
    }
}

fn refusal(trace: &str) -> Record {
    let decision = Decision {
        id: "d-00000000000000aa".to_owned(),
        time: "2027-01-15T08:00:00.000Z".to_owned(),
        peer: id("dev"),
        method: "/market.orders.v1.Orders/Place".to_owned(),
        verdict: "refused".to_owned(),
        reason: "ROLE_MISSING".to_owned(),
        trace_id: trace.to_owned(),
        ..Decision::default()
    };
    Record { decision: Some(decision), connection: None }
}

fn orders() -> Says {
    let records = vec![refusal("4bf92f3577b34da6a3ce929d0e0e4736")];
    Says { edges: vec![edge("storefront", 0), edge("dev", 2)], records, ..Says::nothing("orders") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_administrator_asks_every_workload_as_an_operator_enrolled_in_memory() {
    let world = World::new().await;
    world.register("operator").await;
    let _orders = Workload::start(&world, orders(), FOR_OPERATORS).await;
    let _ledger = Workload::start(&world, Says::nothing("ledger"), FOR_OPERATORS).await;
    world.listed(2).await;
    let before = files(&world);

    let output = world.avouch(&["edges"]).await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = stdout(&output);
    assert!(
        text.contains("×  dev         orders  market.orders.v1.Orders/Place  12     83%   0        2"),
        "{text}"
    );
    let output = world.avouch(&["edges", "--refused", "--json"]).await;
    let flows = json(&output);
    assert_eq!((flows.as_array().unwrap().len(), &flows[0]["caller"]), (1, &id("dev").into()));

    let output = world.avouch(&["tap", "--denied"]).await;
    assert!(stdout(&output).contains("× dev → market.orders.v1.Orders/Place refused"), "{output:?}");
    let output = world.avouch(&["whois", "4bf92f3577b34da6a3ce929d0e0e4736"]).await;
    assert!(stdout(&output).contains("CALLS OF THE TRACE\n"), "{output:?}");

    let request = ListCertificatesRequest {
        include_expired: true,
        spiffe_id: OPERATOR.to_owned(),
        ..Default::default()
    };
    let issued = world.admin().await.list_certificates(request).await.unwrap().into_inner().certificates;
    assert_eq!(issued.iter().filter(|certificate| certificate.origin == "enroll").count(), 4);
    assert_eq!(files(&world), before, "nothing of the operator is on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_and_again_in_one_run_enrolls_once() {
    let world = World::new().await;
    world.register("operator").await;
    let gone = Workload::start(&world, Says::nothing("gone"), FOR_OPERATORS).await;
    world.listed(1).await;
    gone.end().await;
    // It is not to be had, so this asks once a second.
    let output = world.avouch(&["check", "--wait", "4s"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let request = ListCertificatesRequest {
        include_expired: true,
        spiffe_id: OPERATOR.to_owned(),
        ..Default::default()
    };
    let issued = world.admin().await.list_certificates(request).await.unwrap().into_inner().certificates;
    assert_eq!(issued.len(), 1, "{issued:?}");
}

/// Everything outside of the issuer's own directory.
fn files(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.temp.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_not_registered_is_told_the_command_that_registers_it() {
    let world = World::new().await;
    let _orders = Workload::start(&world, orders(), FOR_OPERATORS).await;
    world.listed(1).await;
    let output = world.avouch(&["edges"]).await;
    let said = stderr(&output);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(said.contains(&format!("{OPERATOR} is not registered")), "{said}");
    assert!(said.contains(&format!("avouch entry add {OPERATOR} --ttl 10m")), "{said}");
    // What the issuer knows is shown all the same.
    let output = world.avouch(&["whois", &id("orders")]).await;
    assert!(output.status.success() && stdout(&output).contains("REGISTERED"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_silence_is_explained_and_hides_nobody_else() {
    let world = World::new().await;
    world.register("operator").await;
    let _orders = Workload::start(&world, orders(), FOR_OPERATORS).await;
    // Lets no operator in.
    let closed = Workload::start(&world, Says::nothing("closed"), "[roles]\ndebug = []\n").await;
    // Has ended since.
    let gone = Workload::start(&world, Says::nothing("gone"), FOR_OPERATORS).await;
    let gone_address = gone.address.clone();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.register("silent").await;
    let silent_address = silent.local_addr().unwrap().to_string();
    let _silent = world.identity("silent", std::slice::from_ref(&silent_address), None).await;
    // Says that it is where somebody else is.
    world.register("liar").await;
    let _liar = world.identity("liar", std::slice::from_ref(&closed.address), None).await;
    // Serves nobody: there is nothing to ask.
    world.register("shy").await;
    let _shy = world.identity("shy", &[], None).await;
    world.listed(5).await;
    gone.end().await;

    let began = std::time::Instant::now();
    let output = world.avouch(&["edges"]).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(stdout(&output).contains("storefront"), "{output:?}");
    let line = |who: String| {
        let found = said.lines().find(|line| line.starts_with(&who));
        found.unwrap_or_else(|| panic!("nothing of {who}: {said}")).to_owned()
    };
    let closed_line = line(format!("closed at {}", closed.address));
    assert!(closed_line.contains("ROLE_MISSING") && closed_line.contains("policy.toml"), "{closed_line}");
    assert!(closed_line.contains(&format!("operator = [\"{OPERATOR}\"]")), "{closed_line}");
    let gone_line = line(format!("gone at {gone_address}"));
    assert!(gone_line.contains("refused") && gone_line.contains("whether it runs"), "{gone_line}");
    let silent_line = line(format!("silent at {silent_address}"));
    assert!(silent_line.contains("within"), "{silent_line}");
    let liar_line = line(format!("liar at {}", closed.address));
    assert!(liar_line.contains("SERVER_IDENTITY_MISMATCH"), "{liar_line}");
    assert!(gone_line.contains("the issuer last heard it"), "{gone_line}");
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_issuer_an_identity_from_files_asks_who_is_named() {
    let world = World::new().await;
    world.register("operator").await;
    let state = world.temp.path().join("operator");
    let identity = world.identity("operator", &[], Some(state.clone())).await;
    let orders = Workload::start(&world, orders(), FOR_OPERATORS).await;
    drop(identity);
    // As an operator has it who gets certificate and key in files of their own.
    let split = world.temp.path().join("split");
    std::fs::create_dir(&split).unwrap();
    let both = std::fs::read_to_string(state.join("svid.pem")).unwrap();
    let end = "-----END PRIVATE KEY-----\n";
    let (key, chain) = both.split_once(end).unwrap();
    std::fs::write(split.join("key.pem"), format!("{key}{end}")).unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(split.join("key.pem"), own).unwrap();
    std::fs::write(split.join("svid.pem"), chain).unwrap();
    std::fs::copy(state.join("bundle.json"), split.join("bundle.json")).unwrap();

    let target = format!("{}={}", orders.address, id("orders"));
    let nowhere = tempfile::tempdir().unwrap();
    for dir in [&state, &split] {
        let dir = dir.to_str().unwrap();
        let words = ["edges", "--identity", dir, "--workload", &target];
        let output = run(elsewhere(nowhere.path(), &words)).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains("storefront"), "{output:?}");
        assert!(stderr(&output).contains("no issuer answers on"), "{output:?}");
    }
    let dir = state.to_str().unwrap();
    let words = ["edges", "--identity", dir, "--as", &id("somebody-else"), "--workload", &target];
    let output = run(elsewhere(nowhere.path(), &words)).await;
    assert!(output.status.code() == Some(1) && stderr(&output).contains("somebody-else"), "{output:?}");
    let none = nowhere.path().to_str().unwrap();
    let output = run(elsewhere(nowhere.path(), &["edges", "--identity", none, "--workload", &target])).await;
    assert!(output.status.code() == Some(1) && stderr(&output).contains("svid.pem"), "{output:?}");
    let output = run(elsewhere(nowhere.path(), &["edges", "--workload", &target])).await;
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("nobody could be asked"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_is_1_and_wrong_usage_is_2() {
    let world = World::new().await;
    world.register("operator").await;
    let _orders = Workload::start(&world, Says::nothing("orders"), FOR_OPERATORS).await;
    world.listed(1).await;
    for words in [&["edges"][..], &["tap", "--denied"], &["whois", "10.9.8.7:6"], &["edges", "--json"]] {
        let output = world.avouch(words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?} {output:?}");
    }
    for words in [
        &["whois"][..],
        &["whois", ""],
        &["tap", "--format", "xml"],
        &["tap", "--follow", "--from", "x.tgz"],
        &["edges", "--workload", "127.0.0.1:1"],
        &["edges", "--from", "x.tgz", "--workload", "127.0.0.1:1=spiffe://market.example/a"],
        &["edges", "--as", "operator"],
    ] {
        let output = world.avouch(words).await;
        assert_eq!(output.status.code(), Some(2), "{words:?} {output:?}");
    }
}

/// What is said on both outputs.
fn said(output: &std::process::Output) -> String {
    format!("{}{}", stdout(output), stderr(output))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_not_sent_to_what_every_machine_has_for_itself_and_each_command_says_so() {
    let world = World::new().await;
    world.register("operator").await;
    world.register("sly").await;
    let advertised = [
        "169.254.169.254:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[fd00:ec2::254]:80",
        "[fe80::1]:80",
        "0.0.0.1:80",
    ];
    let _sly = world.identity("sly", &advertised.map(str::to_owned), None).await;
    world.listed(1).await;
    let dump = world.temp.path().join("dump.tgz");
    let dump = dump.to_str().unwrap();
    for words in [
        &["check"][..],
        &["edges"],
        &["tap"],
        &["whois", "10.9.8.7:6"],
        &["dump", dump],
        &["check", "--from", dump],
        &["edges", "--from", dump],
    ] {
        let output = world.avouch(words).await;
        // Tables break lines where they like.
        let text = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        for address in advertised {
            assert!(text.contains(address), "{words:?}: {address}: {output:?}");
        }
        for why in ["link-local address", "where a cloud serves", "no address of any machine"] {
            assert!(text.contains("not asked: ") && text.contains(why), "{words:?}: {why}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_address_is_dialled_where_the_issuer_is_on_one_or_a_person_types_it() {
    // Others reach this issuer, so a workload may be anywhere, and its loopback is not the operator's.
    let world = World::listening("0.0.0.0:0").await;
    world.register("operator").await;
    world.register("sly").await;
    let orders = Workload::start(&world, orders(), FOR_OPERATORS).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let advertised = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let _sly = world.identity("sly", &advertised, None).await;
    world.listed(2).await;
    let output = world.avouch(&["edges"]).await;
    for why in ["127.0.0.1 is a loopback address", "localhost leads to "] {
        assert!(stderr(&output).contains(&format!("not asked: {why}")), "{output:?}");
    }
    assert!(!stdout(&output).contains("storefront"), "{output:?}");
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(1), trap.accept()).await;
    assert!(dialled.is_err(), "{dialled:?}");

    let typed = format!("{}={}", orders.address, id("orders"));
    let output = world.avouch(&["edges", "--workload", &typed]).await;
    assert!(stdout(&output).contains("storefront"), "{output:?}");
}
