//! `avouch handshake` against servers that are good, and against each way one can be wrong: every one has its own ending.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use avouch_testkit::ca::{ca_params, leaf_params, year};
use avouch_testkit::program::alone;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const LEDGER: &str = "spiffe://market.example/ledger";
const ORDERS: &str = "spiffe://market.example/orders";
/// A SETTINGS frame with MAX_CONCURRENT_STREAMS = 200.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\xc8";

/// An authority, and a directory for what it issues.
struct Domain {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    directory: PathBuf,
}

impl Domain {
    fn new() -> Self {
        let params = ca_params("root", year());
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), root.pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key), root: root.der().clone() }
    }

    fn bundle(&self) -> String {
        self.directory.path().join("ca.pem").display().to_string()
    }

    /// Issues an SVID that ends `ends` from now, which may be before.
    fn issue(&self, id: &str, ends: i64) -> Issued {
        let now = avouch_time::clock::system().now();
        let shifted = |seconds: i64| match u64::try_from(seconds) {
            Ok(ahead) => now + Duration::from_secs(ahead),
            Err(_) => now - Duration::from_secs(seconds.unsigned_abs()),
        };
        let params = leaf_params(id, shifted(ends - 7200)..shifted(ends));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let directory = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        // As a workload of avouch keeps it: the key and the chain in one file.
        std::fs::write(directory.join("svid.pem"), format!("{}{}", key.serialize_pem(), certificate.pem()))
            .unwrap();
        std::fs::copy(self.directory.path().join("ca.pem"), directory.join("bundle.pem")).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Issued { chain: vec![certificate.der().clone()], key, directory }
    }

    /// A server that wants a client certificate of this domain, if at all.
    fn config(&self, own: &Issued, wants: bool) -> ServerConfig {
        let provider = avouch_identity::crypto_provider().clone();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let builder = match wants {
            true => builder.with_client_cert_verifier(verifier),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(own.chain.clone(), own.key.clone_key()).unwrap();
        config.alpn_protocols.push(b"h2".to_vec());
        config
    }
}

/// Serves one kind of behaviour until the test ends.
async fn serve<F>(behave: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(behave(tcp));
        }
    });
    address
}

/// A TLS server that says `first` and waits for the client to go.
async fn serve_tls(config: ServerConfig, first: &'static [u8]) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                let _ = stream.write_all(first).await; // the client may be gone
                let _ = stream.flush().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    })
    .await
}

async fn avouch(words: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
    command.args(words);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The ending of a handshake that breaks: step and reason; that there is help is checked here.
async fn broken(address: SocketAddr, words: &[&str]) -> (String, String) {
    let target = address.to_string();
    let output = avouch(&[&["handshake", &target, "--json"], words].concat()).await;
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{value:#}");
    assert!(value["broke"]["help"].as_str().is_some_and(|help| help.len() > 20), "{value:#}");
    let word = |name: &str| value["broke"][name].as_str().unwrap().to_owned();
    if word("step") != "connect" {
        let explain = word("explain");
        assert!(
            explain.starts_with(&format!("avouch explain {} --at ", word("client_address"))),
            "{explain}"
        );
    }
    (word("step"), word("reason"))
}

fn ending(step: &str, reason: &str) -> (String, String) {
    (step.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_server_is_met_step_by_step() {
    let domain = Domain::new();
    let (ledger, orders) = (domain.issue(LEDGER, 3600), domain.issue(ORDERS, 3600));
    let address = serve_tls(domain.config(&ledger, true), SETTINGS).await;
    let words =
        ["handshake", &address.to_string(), "--identity", text(&orders.directory), "--expect", LEDGER];
    let output = avouch(&words).await;
    let shown = out(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for part in [
        "groups X25519MLKEM768",
        "TLS 1.3, group X25519MLKEM768, suite TLS13_AES_256_GCM_SHA384, ALPN h2",
        "accepted as spiffe://market.example/ledger",
        "ok    X509-SVID 2 ",
        "the server asked; presented spiffe://market.example/orders",
        "SETTINGS received: MAX_CONCURRENT_STREAMS=200",
        "works: the server is spiffe://market.example/ledger, it took us as spiffe://market.example/orders",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("FAIL") && !shown.contains("PRIVATE"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_nobody_is_said_to() {
    let domain = Domain::new();
    let address = serve_tls(domain.config(&domain.issue(LEDGER, 3600), false), SETTINGS).await.to_string();
    let shown = out(&avouch(&["handshake", &address, "--bundle", &domain.bundle()]).await);
    assert!(
        shown.contains("works: the server is spiffe://market.example/ledger, it asks no client"),
        "{shown}"
    );
    let shown = out(&avouch(&["handshake", &address]).await);
    assert!(
        shown.contains("not verified") && shown.contains("works: nobody verified who the server is"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_that_is_wrong_has_its_own_ending() {
    let domain = Domain::new();
    let orders = domain.issue(ORDERS, 3600);
    let own = ["--identity", text(&orders.directory)];
    let expecting = [&own[..], &["--expect", LEDGER]].concat();

    let other = serve_tls(domain.config(&domain.issue(ORDERS, 3600), true), SETTINGS).await;
    assert_eq!(broken(other, &expecting).await, ending("verify", "SERVER_IDENTITY_MISMATCH"));
    let expired = serve_tls(domain.config(&domain.issue(LEDGER, -60), true), SETTINGS).await;
    assert_eq!(broken(expired, &own).await, ending("verify", "CERT_EXPIRED"));
    let early = serve_tls(domain.config(&domain.issue(LEDGER, 10_000), true), SETTINGS).await;
    assert_eq!(broken(early, &own).await, ending("verify", "CERT_NOT_YET_VALID"));
    let stranger = Domain::new();
    let foreign = serve_tls(stranger.config(&stranger.issue(LEDGER, 3600), true), SETTINGS).await;
    assert_eq!(broken(foreign, &own).await, ending("verify", "CERT_UNTRUSTED"));
    let far =
        serve_tls(domain.config(&domain.issue("spiffe://elsewhere.example/a", 3600), true), SETTINGS).await;
    assert_eq!(broken(far, &own).await, ending("verify", "TRUST_DOMAIN_UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_by_the_server_has_its_own_ending() {
    let domain = Domain::new();
    let ledger = domain.issue(LEDGER, 3600);
    let address = serve_tls(domain.config(&ledger, true), SETTINGS).await;
    let bundle = domain.bundle();
    let bare = ["--bundle", bundle.as_str()];
    assert_eq!(broken(address, &bare).await, ending("client certificate", "CLIENT_CERT_MISSING"));
    let old = domain.issue(ORDERS, -60);
    let words = ["--identity", text(&old.directory)];
    assert_eq!(broken(address, &words).await, ending("client certificate", "CERT_EXPIRED"));
    let stranger = Domain::new();
    let unknown = stranger.issue(ORDERS, 3600);
    let words = ["--identity", text(&unknown.directory), "--bundle", bundle.as_str()];
    assert_eq!(broken(address, &words).await, ending("client certificate", "HANDSHAKE_REFUSED"));
    let mut config = domain.config(&ledger, false);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let old_fashioned = serve_tls(config, b"").await;
    assert_eq!(broken(old_fashioned, &bare).await, ending("server hello", "NO_APPLICATION_PROTOCOL"));
    let mut config = domain.config(&ledger, false);
    config.alpn_protocols.clear();
    let without = serve_tls(config, b"").await;
    assert_eq!(broken(without, &bare).await, ending("server hello", "NO_APPLICATION_PROTOCOL"));
    let odd = serve_tls(domain.config(&ledger, false), b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(broken(odd, &bare).await, ending("http/2", "NO_APPLICATION_PROTOCOL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_no_tls_has_its_own_ending() {
    let http = serve(|mut tcp| async move {
        let _ = tcp.read(&mut [0; 64]).await;
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(broken(http, &[]).await, ending("server hello", "NOT_TLS"));
    let silent = serve(|mut tcp| async move {
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(broken(silent, &[]).await, ending("server hello", "HANDSHAKE_TIMEOUT"));
    let gone = serve(|mut tcp| async move {
        let _ = tcp.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(broken(gone, &[]).await, ending("server hello", "PEER_CONNECTION_CLOSED"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(broken(closed, &[]).await, ending("connect", "PEER_CONNECTION_CLOSED"));
}

/// OpenSSL's own server, which can still do what nothing here can.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_tls_1_2_has_its_own_ending() {
    let domain = Domain::new();
    let ledger = domain.issue(LEDGER, 3600);
    // A port that was free a moment ago: OpenSSL cannot say which one it took.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let svid = ledger.directory.join("svid.pem");
    let server = Command::new("openssl")
        .args(["s_server", "-quiet", "-tls1_2", "-alpn", "h2", "-accept", &address.to_string()])
        .args(["-cert", text(&svid), "-key", text(&svid)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut server) = server else { return }; // there is no openssl here
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listening).await.unwrap();
    let ended = broken(address, &[]).await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(ended, ending("server hello", "PROTOCOL_VERSION_UNSUPPORTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_host_is_inspected_without_being_believed_or_told_anything() {
    let domain = Domain::new();
    let address = serve_tls(domain.config(&domain.issue(LEDGER, 3600), true), SETTINGS).await.to_string();
    let output = avouch(&["cert", "inspect", &address]).await;
    let shown = out(&output);
    assert_eq!(output.status.code(), Some(0), "what it presents is good: {shown}");
    assert!(shown.contains("nobody verified") && shown.contains("asked for; we presented none"), "{shown}");
    assert!(
        shown.contains("CLIENT_CERT_MISSING") && shown.contains("X.509-SVID spiffe://market.example/ledger")
    );
    let output = avouch(&["cert", "inspect", &address, "--bundle", &Domain::new().bundle()]).await;
    assert!(output.status.code() == Some(1) && out(&output).contains("CERT_UNTRUSTED"), "{}", out(&output));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = avouch(&["cert", "inspect", &closed]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains(&format!("avouch handshake {closed}")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_cannot_be_used_is_said_before_anything_is_sent() {
    let domain = Domain::new();
    let (orders, ledger) = (domain.issue(ORDERS, 3600), domain.issue(LEDGER, 3600));
    let key = |issued: &Issued| {
        let pem = std::fs::read_to_string(issued.directory.join("svid.pem")).unwrap();
        let at = pem.find("-----BEGIN CERTIFICATE").unwrap();
        pem.split_at(at).0.to_owned()
    };
    let pem = std::fs::read_to_string(orders.directory.join("svid.pem")).unwrap();
    std::fs::write(orders.directory.join("svid.pem"), pem.replace(&key(&orders), &key(&ledger))).unwrap();
    let output = avouch(&["handshake", "localhost:1", "--identity", text(&orders.directory)]).await;
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.contains("does not match") && output.stdout.is_empty(), "{said}");
    let output = avouch(&["handshake", "localhost:1", "--identity", "/nowhere"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no certificate in it"));
}
