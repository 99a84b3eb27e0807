//! The shell under a service manager: the socket it passes, and what it is told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use avouch_testkit::program::alone;
use rustix::process::{Pid, Signal, kill_process};
use support::{Ca, appears, channel, client, minimal, until};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const HOUR: Duration = Duration::from_secs(3600);

/// Puts its standard input where a service manager puts the first socket, says so as one would, and becomes `"$@"`.
const PASS: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";

/// `minimal`, started by a shell that runs `script` first, with `descriptor` as its standard input.
fn passing(script: &str, descriptor: impl Into<OwnedFd>, config: &str) -> Command {
    let mut command = alone("sh", Path::new(config).parent().unwrap());
    command.args(["-c", script, "sh"]).arg(minimal()).args(["--config", config]);
    command.stdin(Stdio::from(descriptor.into()));
    command
}

fn config(ca: &Ca, more: &str) -> String {
    let address_file = ca.path("address.json");
    let text = format!(
        "{}[telemetry]\nlog_format = 'off'\n[service]\naddress_file = {address_file:?}\n{more}",
        ca.svid("minimal", HOUR)
    );
    ca.write("minimal.toml", &text).display().to_string()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A process that a test ends.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the process does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends by itself, with the code for what its starter can repair; returns what it says.
fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{text}");
    text
}

#[tokio::test]
async fn a_passed_socket_is_served_though_another_address_is_configured() {
    let ca = Ca::new();
    let (socket, address) = listener();
    let config = config(&ca, "listen = '192.0.2.1:1'\n");
    // Before the process is: the call waits in the socket's queue.
    let identity = client(&ca).await;
    let mut early = HealthClient::new(channel(&identity, address));
    let early = tokio::spawn(async move { early.check(HealthCheckRequest::default()).await });
    let running = Running::start(passing(PASS, socket, &config));
    early.await.unwrap().unwrap();
    let addresses = appears(&ca.path("address.json")).await;
    assert!(addresses.contains(&format!("\"grpc\":\"{address}\"")), "{addresses}");
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn a_passed_socket_outlives_the_process_and_the_next_one_answers_who_came_meanwhile() {
    let ca = Ca::new();
    let (socket, address) = listener();
    let config = config(&ca, "");
    let identity = client(&ca).await;
    let check = || {
        let mut client = HealthClient::new(channel(&identity, address));
        async move { client.check(HealthCheckRequest::default()).await }
    };
    let first = Running::start(passing(PASS, socket.try_clone().unwrap(), &config));
    check().await.unwrap();
    assert_eq!(first.terminate().await, Some(0));
    let meanwhile = tokio::spawn(check());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = Running::start(passing(PASS, socket, &config));
    meanwhile.await.unwrap().unwrap();
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn a_socket_for_another_process_is_left_alone() {
    let ca = Ca::new();
    let (socket, address) = listener();
    let config = config(&ca, "");
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=1 LISTEN_FDS=1; exec \"$@\"";
    let running = Running::start(passing(script, socket, &config));
    let addresses = appears(&ca.path("address.json")).await;
    assert!(!addresses.contains(&format!("\"grpc\":\"{address}\"")), "{addresses}");
    assert_eq!(running.terminate().await, Some(0));
}

#[test]
fn what_is_no_listening_tcp_socket_is_refused() {
    let ca = Ca::new();
    let config = config(&ca, "");
    let (_listener, address) = listener();
    let connected = std::net::TcpStream::connect(address).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(ca.path("sock")).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (what, descriptor) in [
        ("a connected socket", OwnedFd::from(connected)),
        ("a UDP socket", OwnedFd::from(udp)),
        ("a Unix socket", OwnedFd::from(unix)),
        ("a file", OwnedFd::from(file)),
    ] {
        let text = refused(passing(PASS, descriptor, &config));
        assert!(text.contains("the passed descriptor is no listening TCP socket"), "{what}: {text}");
        assert!(text.contains("ListenStream="), "{what}: {text}");
    }
    assert!(!ca.path("address.json").exists());
}

#[test]
fn a_socket_that_is_announced_and_not_there_is_refused() {
    let ca = Ca::new();
    let script = "exec 3<&- </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let text = refused(passing(script, listener().0, &config(&ca, "")));
    assert!(text.contains("no listening TCP socket"), "{text}");
}

#[test]
fn more_than_one_socket_is_refused_with_the_names_they_have() {
    let ca = Ca::new();
    let config = config(&ca, "");
    let two = "exec 3<&0 4<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    let text = refused(passing(two, listener().0, &config));
    assert!(text.contains("2 sockets are passed, and this process serves one"), "{text}");
    let named = two.replace("export", "export LISTEN_FDNAMES=mtls:other");
    let text = refused(passing(&named, listener().0, &config));
    assert!(text.contains("2 sockets are passed (mtls:other)"), "{text}");
}

#[test]
fn checking_the_configuration_takes_no_socket() {
    let ca = Ca::new();
    let mut command = passing(PASS, UdpSocket::bind("127.0.0.1:0").unwrap(), &config(&ca, ""));
    assert!(command.arg("--check-config").output().unwrap().status.success());
}

/// The next thing a service manager hears.
fn heard(manager: &UnixDatagram) -> String {
    let mut message = [0; 1024];
    let length = manager.recv(&mut message).unwrap_or_else(|error| panic!("nothing is heard: {error}"));
    String::from_utf8(message.into_iter().take(length).collect()).unwrap()
}

fn manager(ca: &Ca) -> UnixDatagram {
    let manager = UnixDatagram::bind(ca.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    manager
}

#[tokio::test]
async fn a_manager_hears_of_readiness_of_a_reload_and_its_end_and_of_the_drain() {
    let ca = Ca::new();
    let manager = manager(&ca);
    let mut command = alone(minimal(), ca.directory.path());
    command.args(["--config", &config(&ca, "")]).env("NOTIFY_SOCKET", ca.path("notify"));
    let running = Running::start(command);
    assert_eq!(heard(&manager), "READY=1\n");
    running.signal(Signal::HUP);
    let reloading = heard(&manager);
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard(&manager), "READY=1\n");
    assert_eq!(running.terminate().await, Some(0));
    assert_eq!(heard(&manager), "STOPPING=1\n");
}

#[tokio::test]
async fn a_reload_before_the_process_serves_is_no_readiness() {
    let ca = Ca::new();
    let manager = manager(&ca);
    manager.set_nonblocking(true).unwrap();
    let (_silent, issuer) = listener();
    let health = listener().1;
    let token = avouch_spiffe::JoinToken::new(
        "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0".to_owned(),
        "spiffe://market.example/avouch/issuer".parse().unwrap(),
        vec![[7; 32]],
    );
    let token = ca.write("token", &token.unwrap().encode());
    let config = ca.write(
        "minimal.toml",
        &format!(
            "[identity]\nsource = 'issuer'\naddress = '{issuer}'\njoin_token_file = {token:?}\n\
             [health]\nlisten = '{health}'\n[telemetry]\nlog_format = 'off'\n"
        ),
    );
    let mut command = alone(minimal(), ca.directory.path());
    command.arg("--config").arg(config).env("NOTIFY_SOCKET", ca.path("notify"));
    let running = Running::start(command);
    until("the health port", || async { tokio::net::TcpStream::connect(health).await.is_ok() }).await;
    running.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(running.terminate().await, Some(0));
    let error = manager.recv(&mut [0; 1024]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "something was said");
}
