//! Dumps, as a shell makes and reads them.

use crate::world::*;
use avouch_api::observe::v1::Edge;
use flate2::read::GzDecoder;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

async fn dumped(world: &World) -> std::path::PathBuf {
    let edge = Edge {
        peer_id: id("storefront"),
        method: "/market.orders.v1.Orders/Place".to_owned(),
        allowed: 3,
        ..Edge::default()
    };
    world.register("operator").await;
    let _orders =
        Workload::start(world, Says { edges: vec![edge], ..Says::nothing("orders") }, FOR_OPERATORS).await;
    world.listed(1).await;
    let output = world.avouch(&["dump", "all.tgz"]).await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "all.tgz\n"), "{output:?}");
    world.temp.path().join("all.tgz")
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        text.push_str(&entry.path().unwrap().display().to_string());
        entry.read_to_string(&mut text).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_its_owners_holds_no_secret_and_is_read_where_there_is_nobody_to_ask() {
    let world = World::new().await;
    let path = dumped(&world).await;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let text = unpacked(&path);
    assert!(text.contains("fleet.json") && text.contains("members/0000.json"), "{text}");
    for secret in ["PRIVATE KEY", "avjt1", "BEGIN CERTIFICATE"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }

    let nowhere = tempfile::tempdir().unwrap();
    let from = path.to_str().unwrap();
    let output = run(elsewhere(nowhere.path(), &["edges", "--from", from])).await;
    assert!(output.status.success() && stdout(&output).contains("storefront"), "{output:?}");
    let output = run(elsewhere(nowhere.path(), &["whois", &id("orders"), "--from", from])).await;
    let text = stdout(&output);
    assert!(text.contains("REGISTERED") && text.contains("RUNS") && text.contains("enroll"), "{text}");
    let output = run(elsewhere(nowhere.path(), &["tap", "--from", from])).await;
    assert_eq!(output.status.code(), Some(1), "there is no record: {output:?}");
    // A dump of a dump is the dump.
    let output = run(elsewhere(nowhere.path(), &["dump", "again.tgz", "--from", from])).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(unpacked(&nowhere.path().join("again.tgz")), unpacked(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_goes_to_a_pipe_and_one_that_fails_leaves_what_was_there() {
    let world = World::new().await;
    let path = dumped(&world).await;
    let output = world.avouch(&["dump", "-"]).await;
    assert!(output.status.success() && output.stdout.starts_with(&[0x1f, 0x8b]), "{output:?}");

    let nowhere = tempfile::tempdir().unwrap();
    let old = std::fs::read(&path).unwrap();
    let output = run(elsewhere(nowhere.path(), &["dump", path.to_str().unwrap()])).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(std::fs::read(&path).unwrap(), old);
    let left = std::fs::read_dir(world.temp.path()).unwrap().count();
    assert_eq!(left, 3, "data, run, and the dump");
    let output = world.avouch(&["dump", "no/such/place.tgz"]).await;
    assert!(output.status.code() == Some(1) && stderr(&output).contains("cannot write"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_dump_is_said_to_be_none() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("text.tgz"), "hello").unwrap();
    for (file, part) in
        [("text.tgz", "is no dump of avouch"), ("none.tgz", "cannot read"), (".", "cannot read")]
    {
        for words in
            [&["edges", "--from", file][..], &["tap", "--from", file], &["whois", "x", "--from", file]]
        {
            let output = run(elsewhere(temp.path(), words)).await;
            assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{words:?}");
            assert!(stderr(&output).contains(part), "{words:?} {output:?}");
        }
    }
}
