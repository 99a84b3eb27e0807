//! `avouch tap --follow`.

use crate::world::*;
use avouch_api::observe::v1::{Decision, Record, WatchRecordsResponse};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A running `avouch`, and the lines of both its outputs.
struct Tap {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tap {
    fn start(world: &World, words: &[&str]) -> Self {
        let mut command = world.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for a line with this in it.
    async fn says(&mut self, part: &str) -> String {
        let mut said = Vec::new();
        let limit = std::time::Duration::from_secs(30);
        let found = tokio::time::timeout(limit, async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(part) {
                    return Some(line);
                }
                said.push(line);
            }
            None
        });
        found.await.ok().flatten().unwrap_or_else(|| panic!("no {part:?} in {said:?}"))
    }
}

fn refusal(number: u32) -> Record {
    let decision = Decision {
        id: format!("d-{number:016x}"),
        time: format!("2027-01-15T08:00:{number:02}.000Z"),
        peer: id("dev"),
        method: "/a.B/C".to_owned(),
        verdict: "refused".to_owned(),
        reason: "ROLE_MISSING".to_owned(),
        ..Decision::default()
    };
    Record { decision: Some(decision), connection: None }
}

fn now(number: u32, missed: u64) -> WatchRecordsResponse {
    WatchRecordsResponse { record: Some(refusal(number)), missed }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_as_they_are_made_and_what_happened_in_between_is_caught_up_with() {
    let world = World::new().await;
    world.register("operator").await;
    world.register("orders").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = world.identity("orders", &[address.to_string()], None).await;
    let says = Says::nothing("orders");
    let workload = Workload::serve(identity.clone(), listener, says.clone(), FOR_OPERATORS);
    world.listed(1).await;

    let mut tap = Tap::start(&world, &["tap", "--follow", "--denied"]);
    eventually("the stream", async || (says.live.receiver_count() > 0).then_some(())).await;
    says.live.send(now(1, 0)).unwrap();
    assert!(tap.says("d-0000000000000001").await.contains("× dev → a.B/C refused: ROLE_MISSING"));
    says.live.send(now(2, 5)).unwrap();
    assert!(tap.says("too fast").await.contains("orders at"));
    tap.says("d-0000000000000002").await;

    // It ends, and is said to be silent; two records are made before anybody listens again.
    workload.end().await;
    assert!(tap.says("is not heard").await.contains(&format!("orders at {address}")));
    let records = (1..=4).map(refusal).collect();
    let again = Says { records, ..Says::nothing("orders") };
    let listener = TcpListener::bind(address).await.unwrap();
    let _workload = Workload::serve(identity, listener, again.clone(), FOR_OPERATORS);
    tap.says("is heard again").await;
    for id in ["d-0000000000000003", "d-0000000000000004"] {
        let line = tap.says("d-").await;
        assert!(line.contains(id), "{line}: each once, in order");
    }
    again.live.send(now(4, 0)).unwrap(); // also in the list: not twice
    again.live.send(now(5, 0)).unwrap();
    let line = tap.says("d-").await;
    assert!(line.contains("d-0000000000000005"), "{line}");

    // Somebody who comes later is followed too.
    let late = Says::nothing("late");
    let _late = Workload::start(&world, late.clone(), FOR_OPERATORS).await;
    eventually("the second stream", async || (late.live.receiver_count() > 0).then_some(())).await;
    late.live.send(now(6, 0)).unwrap();
    assert!(tap.says("d-0000000000000006").await.contains("  late  "));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nobody_to_follow_it_ends_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let output = run(elsewhere(temp.path(), &["tap", "--follow"])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nobody could be asked"), "{output:?}");
}
