//! Callers of OpenBao: they set its PKI engine up over its HTTP API, and have certificate signing requests signed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_files::pem::encode;
use avouch_testkit::ca::id;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rcgen::{KeyPair, SanType};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::bare::{self, Tls};
use super::load::{self, closed_loops};
use super::renew::request;
use super::{Commands, say};
use crate::error::Error;
use crate::pki::{DNS_NAME, Pki};

/// The name of the role.
pub const NAME: &str = "bao";

/// Different requests, used again and again.
const REQUESTS: usize = 1_024;

/// The longest time until it is the leader of its own cluster.
const LEADER: Duration = Duration::from_secs(30);

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificates of the run; it serves with the server's.
    pub pki: Pki,
}

/// What it says when the engine signs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// Sets a new OpenBao up, and has requests signed as it is told until the input ends.
///
/// # Errors
/// When it does not answer as its documentation says.
pub async fn run(options: Options) -> Result<(), Error> {
    let bao = Bao::set_up(&options).await?;
    let bodies: Arc<[Bytes]> = (0..REQUESTS).map(|_| body()).collect::<Result<_, _>>()?;
    say(&Ready {})?;
    let mut commands = Commands::default();
    let mut callers = Vec::new();
    while let Some(work) = commands.next::<load::Work>().await? {
        while callers.len() < work.callers {
            let (connection, bodies) = (bao.connect().await?, bodies.clone());
            callers.push(Caller { connection, bodies, next: callers.len() });
        }
        let before = certificates(&bao).await?;
        let mut done = closed_loops(&mut callers, work).await?;
        done.recorded = certificates(&bao).await?.saturating_sub(before);
        say(&done)?;
    }
    Ok(())
}

/// The body of a request to sign a certificate like the issuer's: one SPIFFE ID, for an hour.
fn body() -> Result<Bytes, Error> {
    let csr = || -> Result<Vec<u8>, rcgen::Error> {
        request(&KeyPair::generate()?, vec![SanType::URI(id("/workload").as_str().try_into()?)])
    };
    let csr = csr().map_err(|error| Error::other(format!("a request cannot be made: {error}")))?;
    Ok(Bytes::from(json!({ "csr": encode("CERTIFICATE REQUEST", &csr), "ttl": "1h" }).to_string()))
}

/// The certificates that it has stored.
async fn certificates(bao: &Bao) -> Result<u64, Error> {
    // On a new connection: it closes those that were opened and not used for ten seconds.
    let mut connection = bao.connect().await?;
    let method = Method::from_bytes(b"LIST").map_err(|error| Error::other(error.to_string()))?;
    let listed = connection.json(method, "pki/certs", &Value::Null).await?;
    let keys = listed.pointer("/data/keys").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(u64::try_from(keys).unwrap_or(u64::MAX))
}

/// OpenBao, ready to sign.
struct Bao {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: String,
}

impl Bao {
    async fn set_up(options: &Options) -> Result<Self, Error> {
        let provider = avouch_identity::crypto_provider().clone();
        let mut tls = bare::client_config(&options.pki, Tls::OneWay, provider)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut bao = Self { address: options.address, tls: Arc::new(tls), token: String::new() };
        let mut connection = bao.connect().await?;
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = connection.json(Method::POST, "sys/init", &shares).await?;
        let text = |pointer| keys.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        bao.token = text("/root_token");
        connection.json(Method::POST, "sys/unseal", &json!({ "key": text("/keys_base64/0") })).await?;
        let mut connection = bao.connect().await?;
        connection.is_leader().await?;
        let day = json!({ "type": "pki", "config": { "max_lease_ttl": "24h" } });
        let root = json!({ "common_name": "bench", "key_type": "ec", "key_bits": 256, "ttl": "24h" });
        let role = json!({
            "allow_any_name": true, "allowed_uri_sans": "spiffe://*", "require_cn": false, "key_type": "ec",
            "key_bits": 256, "max_ttl": "1h", "no_store": false, "generate_lease": false,
        });
        connection.json(Method::POST, "sys/mounts/pki", &day).await?;
        connection.json(Method::POST, "pki/root/generate/internal", &root).await?;
        connection.json(Method::POST, "pki/roles/bench", &role).await?;
        Ok(bao)
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let failed = || Error::system(format!("connect to {}", self.address));
        let tcp = TcpStream::connect(self.address).await.map_err(failed())?;
        tcp.set_nodelay(true).map_err(failed())?;
        let name = ServerName::try_from(DNS_NAME).map_err(|error| Error::other(error.to_string()))?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(failed())?;
        let other = |error: hyper::Error| Error::other(format!("{}: {error}", self.address));
        let (sender, connection) = handshake(TokioIo::new(tls)).await.map_err(other)?;
        // Ends with the sender; what it fails with, the sender's request fails with.
        tokio::spawn(connection);
        Ok(Connection { sender, token: self.token.clone() })
    }
}

/// A connection with a token.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: String,
}

impl Connection {
    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(http::header::HOST, DNS_NAME)
            .header("x-vault-token", &self.token)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| avouch_text::with_causes(&error).to_string();
        self.sender.ready().await.map_err(failed)?;
        let answer = self.sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await.map_err(failed)?.to_bytes()))
    }

    /// A request that has to succeed, and its answer.
    async fn json(&mut self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        let what = format!("OpenBao: {method} {path}");
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let answer = self.send(method, path, body).await;
        let (status, text) = answer.map_err(|error| Error::other(format!("{what}: {error}")))?;
        // It says so when a list is empty.
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(Error::other(format!("{what}: {status} {}", String::from_utf8_lossy(&text))));
        }
        if text.is_empty() { Ok(Value::Null) } else { super::parse(&String::from_utf8_lossy(&text)) }
    }

    async fn is_leader(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let (status, _) =
                self.send(Method::GET, "sys/health", Bytes::new()).await.map_err(Error::other)?;
            if status.is_success() {
                return Ok(());
            }
            if began.elapsed() > LEADER {
                return Err(Error::other(format!("OpenBao: not the leader after {LEADER:?}: {status}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A caller with a connection of its own.
struct Caller {
    connection: Connection,
    bodies: Arc<[Bytes]>,
    next: usize,
}

impl load::Caller for Caller {
    async fn call(&mut self) -> Result<(), String> {
        let body = self.bodies.get(self.next % self.bodies.len().max(1)).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
        let (status, text) = self.connection.send(Method::POST, "pki/sign/bench", body).await?;
        if status.is_success() {
            return Ok(());
        }
        Err(format!("{status} {}", String::from_utf8_lossy(&text)))
    }
}
