//! A process that has run out of descriptors still lets the honest in. A binary of its own: the limit is the process's.
#![allow(missing_docs, clippy::expect_used, reason = "tests")]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use avouch_identity::ServerOptions;
use avouch_identity::spiffe::Reason;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::{Ca, channel, check, serve};
use tokio::time::Instant;

const TARGET: &str = "AVOUCH_TEST_TARGET";

/// The attacker's process, which has descriptors of its own.
struct Elsewhere(Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Elsewhere {
    fn attack(target: std::net::SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "half_open_sockets_of_another_process", "--nocapture"]);
        command.env(TARGET, target.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("a process"))
    }
}

/// Nothing unless it is run by the test below: opens five hundred sockets, each anew when it is closed, and is killed.
#[tokio::test]
async fn half_open_sockets_of_another_process() {
    let Ok(target) = std::env::var(TARGET) else { return };
    let target = target.parse().expect("an address");
    let _flood = avouch_attacker::floods::sockets::HalfOpen::keep(
        target,
        Some([127, 0, 0, 2].into()),
        500,
        Vec::new(),
        Duration::from_millis(1),
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn out_of_descriptors_the_flood_makes_room_for_the_honest() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let mut options = ServerOptions::default();
    options.handshake_timeout = Duration::from_secs(600);
    let running = serve(server, options).await;
    // A child inherits the limit of the moment.
    let _elsewhere = Elsewhere::attack(running.address);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(100);
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    // With room for a thousand handshakes, only descriptors can have run out.
    let refused = || {
        let records = running.records.all();
        records.iter().filter(|record| record.reason == Some(Reason::HandshakeLimit)).count()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while refused() < 20 {
        assert!(Instant::now() < deadline, "there are descriptors left");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut served = 0;
    while served < 5 {
        served += usize::from(check(&channel(&client, &running)).await.is_ok());
        assert!(Instant::now() < deadline + Duration::from_secs(10), "{served} honest calls got through");
    }
    // A quarter of the limit is kept from listeners; in use of it are what the accept loop holds for a moment, and what
    // the calls above may not have closed yet.
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a descriptor of the reserve");
    let target = elsewhere.local_addr().expect("an address");
    let mut kept = Vec::new();
    for _ in 0..6 {
        let connection = tokio::net::TcpStream::connect(target).await.expect("a descriptor of the reserve");
        let file = std::fs::File::open("/dev/null").expect("a descriptor of the reserve");
        kept.push((connection, file));
    }
}
