//! The clients, as their users would set them up.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::SanType;
use serde_json::Value;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::server::{Ca, Made, Served, Shown, uri};
use avouch_testkit::program::alone;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Tonic,
    Grpcio,
    Curl,
}

/// PEM files for whatever is shown.
pub(crate) struct Files {
    dir: tempfile::TempDir,
    pub(crate) ca: Ca,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap(), ca: Ca::new() };
        std::fs::write(files.path("ca.pem"), &files.ca.pem).unwrap();
        let (begun, left) = (Duration::from_secs(60), Duration::from_secs(3600));
        let payments = || vec![uri("spiffe://market.example/payments")];
        files.write(Shown::Good, &files.ca.leaf(payments(), begun, left));
        files.write(Shown::Untrusted, &Ca::new().leaf(payments(), begun, left));
        files.write(Shown::Expired, &files.ca.leaf(payments(), begun, Duration::ZERO));
        files
            .write(Shown::Foreign, &files.ca.leaf(vec![uri("spiffe://other.example/payments")], begun, left));
        let dns = vec![SanType::DnsName("payments.market.example".try_into().unwrap())];
        files.write(Shown::NoSvid, &files.ca.leaf(dns, begun, left));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, shown: Shown, made: &Made) {
        let [certificate, key] = self.shown(shown);
        std::fs::write(certificate, made.certificate.pem()).unwrap();
        std::fs::write(key, made.key.serialize_pem()).unwrap();
    }

    fn shown(&self, shown: Shown) -> [PathBuf; 2] {
        [self.path(&format!("{shown:?}.pem")), self.path(&format!("{shown:?}.key"))]
    }
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tonic => "tonic",
            Self::Grpcio => "grpcio",
            Self::Curl => "curl",
        }
    }

    /// What is on this machine.
    pub(crate) fn version(self) -> Option<String> {
        match self {
            Self::Tonic => locked_tonic(),
            Self::Grpcio => {
                said(Command::new(python()).args(["-c", "import grpc; print('grpcio', grpc.__version__)"]))
            }
            Self::Curl => {
                said(Command::new("curl").arg("--version")).filter(|version| version.contains("nghttp2"))
            }
        }
    }

    pub(crate) fn can_choose_its_version(self) -> bool {
        matches!(self, Self::Curl)
    }

    /// What it says of one call, without what is another each time.
    pub(crate) async fn call(
        self,
        served: &Served,
        shown: Shown,
        version: Option<&'static str>,
        method: &'static str,
        files: &Files,
    ) -> String {
        let port = served.port;
        let said = match self {
            Self::Tonic => tonic(port, shown, method, files).await,
            Self::Grpcio => {
                let mut command = alone(python(), files.dir.path());
                // Its packages may be the user's own.
                command.envs(std::env::var_os("HOME").map(|home| ("HOME", home)));
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other_clients/grpcio_client.py"));
                command.args([&format!("localhost:{port}"), method]);
                if shown != Shown::Plaintext {
                    command.arg(files.path("ca.pem"));
                }
                if !matches!(shown, Shown::Plaintext | Shown::Nothing) {
                    command.args(files.shown(shown));
                }
                let line = run(command).await.0;
                let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                format!("{}: {}", told["code"].as_str().unwrap(), told["details"].as_str().unwrap())
            }
            Self::Curl => curl(port, shown, version, method, files).await,
        };
        shortened(&said, port)
    }
}

/// The version that the workspace is built with.
fn locked_tonic() -> Option<String> {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).ok()?;
    let (_, after) = lock.split_once("name = \"tonic\"\nversion = \"")?;
    Some(format!("tonic {}", after.split('"').next()?))
}

fn python() -> String {
    std::env::var("AVOUCH_GRPCIO_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Output, errors and exit status.
async fn run(mut command: Command) -> (String, String, i32) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap_or(-1))
}

async fn tonic(port: u16, shown: Shown, method: &'static str, files: &Files) -> String {
    let scheme = if shown == Shown::Plaintext { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{port}")).unwrap();
    if shown != Shown::Plaintext {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&files.ca.pem));
        if shown != Shown::Nothing {
            let [certificate, key] = files.shown(shown).map(|path| std::fs::read(path).unwrap());
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let mut client = tonic::client::Grpc::new(endpoint.connect_lazy());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<
        avouch_api::observe::v1::GetStatusRequest,
        avouch_api::observe::v1::GetStatusRequest,
    >::default();
    let path = http::uri::PathAndQuery::from_static(method);
    let request = tonic::Request::new(avouch_api::observe::v1::GetStatusRequest {});
    let status = client.unary(request, path, codec).await.unwrap_err();
    format!("{:?}: {}", status.code(), status.message())
}

async fn curl(port: u16, shown: Shown, version: Option<&str>, method: &str, files: &Files) -> String {
    let mut command = alone("curl", files.dir.path());
    command.args([
        "-sS",
        "-i",
        "--max-time",
        "10",
        "--data-binary",
        "",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
    ]);
    if shown == Shown::Plaintext {
        command.args(["--http2-prior-knowledge", &format!("http://localhost:{port}{method}")]);
    } else {
        command.args(["--http2", &format!("https://localhost:{port}{method}")]);
        command.arg("--cacert").arg(files.path("ca.pem"));
    }
    if !matches!(shown, Shown::Plaintext | Shown::Nothing) {
        let [certificate, key] = files.shown(shown);
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    command.args(version.into_iter().flat_map(|version| ["--tls-max", version]));
    let (output, errors, exit) = run(command).await;
    if exit != 0 {
        // Before OpenSSL's own words stand its version and numbers, before curl's the exit status again.
        let words = errors.trim().trim_end_matches(", errno 0");
        let words = words.rsplit("routines::").next().unwrap_or(words);
        let words = words.rsplit(&format!("curl: ({exit}) ")).next().unwrap_or(words);
        return format!("exit {exit}: {words}");
    }
    let headers = output.lines().filter(|line| {
        line.starts_with("HTTP/") || line.starts_with("grpc-status:") || line.starts_with("grpc-message:")
    });
    headers.map(|line| line.trim().replace("%20", " ").replace("%60", "`")).collect::<Vec<_>>().join(", ")
}

/// One line, in a table's cell, without ports, ids and sources' lines.
fn shortened(said: &str, port: u16) -> String {
    let line = said.replace(['\n', '\r'], " ").replace(&port.to_string(), "PORT").replace('|', "/");
    let line = line.replace('`', "'");
    // Every decision has an id of sixteen digits of its own.
    let mut parts = line.split(" d-");
    let mut line = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        line.push_str(" d-…");
        line.push_str(part.get(16..).unwrap_or_default());
    }
    format!("`{}`", line.trim())
}
