//! `avouch tap --follow`.

use crate::world::*;
use avouch_api::observe::v1::{Decision, Record, WatchRecordsResponse};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

type Lines = mpsc::UnboundedReceiver<String>;

/// A running `avouch`, and the lines of both its outputs.
struct Tap {
    child: Child,
    records: Lines,
    remarks: Lines,
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
        let records = lines(child.stdout.take().unwrap());
        let remarks = lines(child.stderr.take().unwrap());
        Self { child, records, remarks }
    }

    /// The next record.
    async fn record(&mut self) -> String {
        next(&mut self.records).await
    }

    /// The next remark on standard error.
    async fn remark(&mut self) -> String {
        next(&mut self.remarks).await
    }
}

fn lines(output: impl std::io::Read + Send + 'static) -> Lines {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

async fn next(lines: &mut Lines) -> String {
    let next = tokio::time::timeout(std::time::Duration::from_secs(30), lines.recv()).await;
    next.expect("a line in time").expect("it goes on")
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
    let line = tap.record().await;
    assert!(line.contains("× dev → a.B/C refused: ROLE_MISSING") && line.contains("d-0000000000000001"));
    says.live.send(now(2, 5)).unwrap();
    assert!(tap.record().await.contains("d-0000000000000002"));
    assert!(tap.remark().await.contains("made 5 records too fast"));

    // It ends, and is said to be silent; two records are made before anybody listens again.
    workload.end().await;
    assert!(tap.remark().await.starts_with(&format!("orders at {address} is not heard")));
    let records = (1..=4).map(refusal).collect();
    let again = Says { records, ..Says::nothing("orders") };
    let listener = TcpListener::bind(address).await.unwrap();
    let _workload = Workload::serve(identity, listener, again.clone(), FOR_OPERATORS);
    assert!(tap.remark().await.ends_with("is heard again"));
    for id in ["d-0000000000000003", "d-0000000000000004"] {
        assert!(tap.record().await.contains(id), "each once, in order");
    }
    again.live.send(now(4, 0)).unwrap(); // also in the list: not twice
    again.live.send(now(5, 0)).unwrap();
    assert!(tap.record().await.contains("d-0000000000000005"));

    // Somebody who comes later is followed too.
    let late = Says::nothing("late");
    let _late = Workload::start(&world, late.clone(), FOR_OPERATORS).await;
    eventually("the second stream", async || (late.live.receiver_count() > 0).then_some(())).await;
    late.live.send(now(6, 0)).unwrap();
    let line = tap.record().await;
    assert!(line.contains("d-0000000000000006") && line.contains("  late  "), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nobody_to_follow_it_ends_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let output = run(elsewhere(temp.path(), &["tap", "--follow"])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nobody could be asked"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signal_ends_it() {
    let world = World::new().await;
    world.register("operator").await;
    let says = Says::nothing("orders");
    let live = says.live.clone();
    let _orders = Workload::start(&world, says, FOR_OPERATORS).await;
    world.listed(1).await;
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut tap = Tap::start(&world, &["tap", "--follow"]);
        eventually("it follows", async || (live.receiver_count() > 0).then_some(())).await;
        rustix::process::kill_process(rustix::process::Pid::from_child(&tap.child), signal).unwrap();
        let ended = eventually("its end", async || tap.child.try_wait().unwrap()).await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(signal.as_raw()), "{ended}");
        eventually("the end of its stream", async || (live.receiver_count() == 0).then_some(())).await;
    }
}
