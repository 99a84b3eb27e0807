//! A private CA of the tests' own, whose SVIDs lie in files, and small clients for the health port.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, clippy::expect_used, clippy::indexing_slicing, reason = "test support")]

pub mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use avouch_service::identity::{Channel, Identity, IdentityFilter};
use avouch_service::{Boot, Flags, Launch};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

pub const DOMAIN: &str = "market.example";

/// The example `minimal`, which cargo builds with the tests.
pub fn minimal() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let path = test.ancestors().nth(2).expect("a path").join("examples/minimal");
    assert!(
        path.exists(),
        "{} is not built: run the package's tests without a target filter",
        path.display()
    );
    path
}

/// A directory with a root, and SVIDs signed by it.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub directory: tempfile::TempDir,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = params("root", Duration::from_secs(3600));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("a root");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("bundle.pem"), root.pem()).expect("written");
        Self { issuer: Issuer::new(params, key), directory }
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
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, own).expect("changed");
        path
    }

    /// Puts a finished file in the place of another one, as a policy is changed: nobody waits whether it grows.
    pub fn install(&self, name: &str, text: &str) -> PathBuf {
        let new = self.write(&format!("{name}.new"), text);
        let file = std::fs::File::options().write(true).open(&new).expect("writable");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("set");
        let path = self.path(name);
        std::fs::rename(new, &path).expect("renamed");
        path
    }

    /// Writes an SVID; returns the `[identity]` section that uses it.
    pub fn svid(&self, name: &str, life: Duration) -> String {
        let mut params = params("", life);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let uri = format!("spiffe://{DOMAIN}/{name}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        let certificate = self.write(&format!("{name}.pem"), &leaf.pem());
        let key = self.write_key(&format!("{name}.key"), &key.serialize_pem());
        let bundle = self.path("bundle.pem");
        format!(
            "[identity]\nsource = 'files'\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n"
        )
    }

    /// What a process with this configuration file is started with.
    pub fn launch(&self, config: &str) -> Launch {
        let path = self.write("service.toml", config);
        let flags = Flags { config: Some(path), ..Flags::default() };
        Launch { flags, ..Launch::default() }
    }
}

#[allow(clippy::disallowed_methods, reason = "test certificates start now")]
fn params(subject: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !subject.is_empty() {
        params.distinguished_name.push(DnType::CommonName, subject);
    }
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(1)).into();
    params.not_after = (now + life).into();
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("randomness");
    serial[0] = 1;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params
}

/// The identity of a caller that holds no role.
pub async fn client(ca: &Ca) -> Identity {
    let section = ca.svid("probe", Duration::from_secs(3600));
    let launch = ca.launch(&format!("{section}[telemetry]\nlog_format = 'off'\n"));
    let boot = Boot::new("client", &[], &launch).await.expect("a process");
    boot.start().await.expect("an identity").identity().clone()
}

/// A channel without a deadline to a server of the own trust domain.
pub fn channel(identity: &Identity, address: SocketAddr) -> Channel {
    let expect = IdentityFilter::trust_domain(DOMAIN.parse().expect("a trust domain"));
    let builder = identity.channel(&format!("https://{address}"), expect);
    builder.default_timeout(None).build().expect("a channel")
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
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a file.
pub async fn appears(path: &Path) -> String {
    until(&path.display().to_string(), || async { path.exists() }).await;
    std::fs::read_to_string(path).expect("readable")
}
