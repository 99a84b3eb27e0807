//! The server refuses who is no client of ours: other protocols, other decades, the slow and the many. The caller sees
//! an alert or the end of the connection, and finds the record by its own address.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use avouch_attacker::grpc::{Call, Outcome, attempt, attempt_in_plaintext};
use avouch_attacker::hello::{Hello, STRANGE_GROUPS, STRANGE_SUITES, TLS_1_2};
use avouch_attacker::tls::Approach;
use avouch_identity::{ServerOptions, Verdict};
use avouch_spiffe::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::place::{Place, TIMES};

/// Its own address, and what it saw last.
type Seen = (SocketAddr, String);
type Producing = Pin<Box<dyn Future<Output = Seen> + Send>>;

pub(crate) struct Row {
    pub(crate) reason: Reason,
    situation: &'static str,
    options: fn(&mut ServerOptions),
    produce: fn(Arc<Place>) -> Producing,
    /// What the caller sees.
    seen: &'static str,
    record: &'static [&'static str],
}

const PROTOCOL_VERSION: &str = "alert 70";
const HANDSHAKE_FAILURE: &str = "alert 40";
const END: &str = "the end";

pub(crate) const ROWS: &[Row] = &[
    Row {
        reason: Reason::NotTls,
        situation: "plain HTTP/2",
        options: |_| {},
        produce: |place| Box::pin(plaintext(place)),
        seen: END,
        record: &["TLS is spoken here"],
    },
    Row {
        reason: Reason::ProtocolVersionUnsupported,
        situation: "a hello of TLS 1.2",
        options: |_| {},
        produce: |place| Box::pin(hello(place, TLS_1_2)),
        seen: PROTOCOL_VERSION,
        record: &["TLS 1.3 is spoken here"],
    },
    Row {
        reason: Reason::CipherSuiteMismatch,
        situation: "strange suites",
        options: |_| {},
        produce: |place| Box::pin(hello(place, STRANGE_SUITES)),
        seen: HANDSHAKE_FAILURE,
        record: &["no cipher suite in common", "TLS13_AES_256_GCM_SHA384"],
    },
    Row {
        reason: Reason::CipherSuiteMismatch,
        situation: "strange groups",
        options: |_| {},
        produce: |place| Box::pin(hello(place, STRANGE_GROUPS)),
        seen: HANDSHAKE_FAILURE,
        record: &["no key exchange group in common", "X25519MLKEM768"],
    },
    Row {
        reason: Reason::NoApplicationProtocol,
        situation: "no h2 among what is offered",
        options: |_| {},
        produce: |place| Box::pin(other_alpn(place)),
        seen: "NoApplicationProtocol",
        record: &["h2 (ALPN)"],
    },
    Row {
        reason: Reason::HandshakeTimeout,
        situation: "a hello that never comes",
        options: |options| options.handshake_timeout = Duration::from_millis(300),
        produce: |place| Box::pin(silent(place)),
        seen: END,
        record: &["no complete handshake within 300ms"],
    },
    Row {
        reason: Reason::PeerConnectionClosed,
        situation: "a port scanner",
        options: |_| {},
        produce: |place| Box::pin(scanner(place)),
        seen: END,
        record: &["during the handshake"],
    },
    Row {
        reason: Reason::HandshakeLimit,
        situation: "no room for another handshake",
        options: |options| options.max_handshakes = 1,
        produce: |place| Box::pin(pushed_out(place)),
        seen: END,
        record: &["of 1 handshakes under way the oldest of the network with most made room for another"],
    },
    Row {
        reason: Reason::ConnectionRetiring,
        situation: "a handshake while the server stops",
        options: |_| {},
        produce: |place| Box::pin(too_late(place)),
        seen: END,
        record: &["the server is draining"],
    },
];

fn last_seen(outcome: Outcome) -> String {
    match outcome {
        Outcome::Disconnected { alert: Some(alert), .. } => alert,
        Outcome::Disconnected { alert: None, .. } => END.to_owned(),
        Outcome::Answered(answer) => panic!("answered: {answer:?}"),
    }
}

async fn plaintext(place: Arc<Place>) -> Seen {
    let call = Call { path: "/x.X/X", ..Call::default() };
    let attempt = attempt_in_plaintext(place.address, &call).await.unwrap();
    (attempt.local, last_seen(attempt.outcome))
}

async fn other_alpn(place: Arc<Place>) -> Seen {
    let right = place.workshop.right().unwrap();
    let approach = Approach { alpn: &[b"http/1.1", b"h3"], ..Approach::showing(Some(&right)) };
    let attempt = attempt(place.address, approach, &Call::default()).await.unwrap();
    (attempt.local, last_seen(attempt.outcome))
}

async fn hello(place: Arc<Place>, hello: Hello<'static>) -> Seen {
    let mut tcp = TcpStream::connect(place.address).await.unwrap();
    let local = tcp.local_addr().unwrap();
    tcp.write_all(&hello.bytes()).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    // One record: an alert of two octets, fatal, and which.
    let [21, _, _, 0, 2, 2, alert] = answer[..] else { panic!("{hello:?}: {answer:?}") };
    (local, format!("alert {alert}"))
}

async fn ended(mut tcp: TcpStream) -> Seen {
    let local = tcp.local_addr().unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), tcp.read(&mut [0; 16])).await;
    assert!(matches!(read.expect("it ends"), Ok(0) | Err(_)), "never a word");
    (local, END.to_owned())
}

async fn silent(place: Arc<Place>) -> Seen {
    ended(TcpStream::connect(place.address).await.unwrap()).await
}

async fn pushed_out(place: Arc<Place>) -> Seen {
    let first = TcpStream::connect(place.address).await.unwrap();
    // Accepted after it, so it takes its place if nobody else has.
    let _second = TcpStream::connect(place.address).await.unwrap();
    ended(first).await
}

async fn scanner(place: Arc<Place>) -> Seen {
    let tcp = TcpStream::connect(place.address).await.unwrap();
    (tcp.local_addr().unwrap(), END.to_owned())
}

async fn too_late(place: Arc<Place>) -> Seen {
    let tcp = TcpStream::connect(place.address).await.unwrap();
    // Served in the order of arrival: with this one's record the first is in its place, and may stay there.
    let (local, _) = scanner(Arc::clone(&place)).await;
    place.records.latest(local).await;
    place.stop.cancel();
    ended(tcp).await
}

async fn produce(row: &'static Row) {
    let place = Arc::new(Place::new(row.options).await);
    let mut attempts = JoinSet::new();
    for _ in 0..TIMES {
        // A server stops once.
        let place = match row.reason {
            Reason::ConnectionRetiring => Arc::new(Place::new(row.options).await),
            _ => Arc::clone(&place),
        };
        attempts.spawn(async move {
            let (local, seen) = (row.produce)(Arc::clone(&place)).await;
            (seen, place.records.latest(local).await)
        });
    }
    for (seen, record) in attempts.join_all().await {
        let situation = row.situation;
        assert_eq!(seen, row.seen, "{situation}");
        assert_eq!(
            (record.verdict, record.reason),
            (Verdict::Refused, Some(row.reason)),
            "{situation}: {record:?}"
        );
        for part in row.record {
            let detail = record.detail.as_deref().unwrap_or_default();
            assert!(detail.contains(part), "{situation}: {part:?} not in {detail:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stranger_is_on_record_thirty_times_of_thirty() {
    let rows: JoinSet<()> = ROWS.iter().map(produce).collect();
    rows.join_all().await;
}
