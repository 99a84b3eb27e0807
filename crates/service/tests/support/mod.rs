//! A CA whose SVIDs lie in files, and small clients for the health port.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(unreachable_pub, clippy::expect_used, clippy::indexing_slicing, reason = "test support")]

pub mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_service::identity::{Channel, Identity, IdentityFilter};
use avouch_service::{Boot, Flags, LaunchOptions};
pub use avouch_testkit::ca::DOMAIN;
use avouch_testkit::wait::eventually;
use avouch_testkit::{ca, files};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

/// The example `minimal`, which cargo builds with the tests.
pub fn minimal() -> PathBuf {
    example("minimal")
}

/// An example of this package.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let path = test.ancestors().nth(2).expect("a path").join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run the package's tests without a target filter",
        path.display()
    );
    path
}

/// A directory with a bundle, and SVIDs of its CA.
pub struct Ca {
    ca: ca::Ca,
    pub directory: tempfile::TempDir,
}

impl Ca {
    pub fn new() -> Self {
        let ca = ca::Ca::new();
        let directory = tempfile::tempdir().expect("a directory");
        let bundle = files::certificates(std::slice::from_ref(&ca.root));
        std::fs::write(directory.path().join("bundle.pem"), bundle).expect("written");
        Self { ca, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Writes a file that is its owner's alone.
    pub fn write_key(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        files::set_mode(&path, 0o600);
        path
    }

    /// Puts a finished file in the place of another one, as a policy is changed: nobody waits whether it grows.
    pub fn install(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        files::install(&path, text);
        path
    }

    /// Writes an SVID; returns the `[identity]` section that uses it.
    pub fn svid(&self, name: &str, life: Duration) -> String {
        let uri = format!("spiffe://{DOMAIN}/{name}");
        let life = ca::now() - Duration::from_secs(1)..ca::now() + life;
        let (chain, key) = self.ca.sign(&ca::leaf_params(&uri, life));
        let certificate = self.write(&format!("{name}.pem"), &files::certificates(&chain));
        let key = avouch_files::pem::encode("PRIVATE KEY", key.secret_der());
        let key = self.write_key(&format!("{name}.key"), &key);
        let bundle = self.path("bundle.pem");
        format!(
            "[identity]\nsource = 'files'\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n"
        )
    }

    /// What a process with this configuration file is started with.
    pub fn launch(&self, config: &str) -> LaunchOptions {
        let path = self.write("service.toml", config);
        let flags = Flags { config: vec![path], ..Flags::default() };
        LaunchOptions { flags, ..LaunchOptions::default() }
    }
}

/// The identity of a caller that holds no role.
pub async fn client(ca: &Ca) -> Identity {
    let section = ca.svid("probe", Duration::from_secs(3600));
    let launch = ca.launch(&format!("{section}[telemetry]\nlog_format = 'off'\n"));
    let boot = Boot::new("client", &[], &launch).await.expect("a process");
    boot.start().await.expect("an identity").identity().clone()
}

/// A channel to a server of the own trust domain.
pub fn channel(identity: &Identity, address: SocketAddr) -> Channel {
    let expect = IdentityFilter::trust_domain(DOMAIN.parse().expect("a trust domain"));
    let builder = identity.channel(&format!("https://{address}"), expect);
    builder.build().expect("a channel")
}

/// GETs a page over HTTP/1.1.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let tcp = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.expect("HTTP/1");
    tokio::spawn(connection);
    let request =
        http::Request::get(path).header("host", "health").body(Empty::<Bytes>::new()).expect("a request");
    let response = client.send_request(request).await.expect("a response");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// Waits until `condition` holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    eventually(what, async || condition().await.then_some(())).await;
}

/// Waits for a file.
pub async fn appears(path: &Path) -> String {
    until(&path.display().to_string(), || async { path.exists() }).await;
    std::fs::read_to_string(path).expect("readable")
}
