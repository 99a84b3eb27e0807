//! A trust domain of its own for each fault: an issuer, services of the market, and the shell of a person beside them.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::process::{Process, Spec, built};
use avouch_testkit::program::alone;

const POLICY: &str = r#"[roles]
ledger-writer = ["spiffe://market.example/payments"]
ledger-reader = ["spiffe://market.example/reports"]
auditor = ["spiffe://market.example/auditor"]
debug = ["spiffe://market.example/operator"]
"#;

/// What a command printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) text: String,
}

/// A process that runs or can be run.
pub(crate) struct Service {
    pub(crate) spec: Spec,
    process: Option<Process>,
}

impl Service {
    pub(crate) fn address(&self) -> SocketAddr {
        self.spec.socket.local_addr().unwrap()
    }

    pub(crate) fn start(&mut self) {
        self.process = Some(self.spec.start());
    }

    /// Starts it without waiting for it to be ready.
    pub(crate) fn spawn(&mut self) {
        self.process = Some(self.spec.spawn());
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it, and nobody listens where it did; gives that address.
    pub(crate) fn leave(&mut self) -> SocketAddr {
        let address = self.address();
        self.process = None;
        self.spec.socket = TcpListener::bind("127.0.0.1:0").unwrap();
        address
    }

    pub(crate) fn running(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.spec.name))
    }

    /// Starts it, and gives what it prints when it cannot.
    pub(crate) fn cannot_start(&mut self) -> String {
        self.process = None;
        let (status, text) = self.spec.spawn().ends();
        assert_ne!(status, Some(0), "{text}");
        text
    }
}

/// The trust domain `market.example`.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) issuer: Service,
}

impl World {
    /// With a running issuer that knows its operator.
    pub(crate) fn begin() -> Self {
        // Short: an admin socket's path may not be long.
        let own = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("avf").permissions(own).tempdir().unwrap();
        profiles(&dir.path().join("profiles"));
        let home = dir.path().join("issuer");
        private(&home);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            "[service]\naddress = \"{}\"\n[health]\nlisten = \"127.0.0.1:0\"\n\
             [issuer]\ntrust_domain = \"market.example\"\ndata_dir = {:?}\nadmin_socket = {:?}\nprofiles = {:?}\n",
            socket.local_addr().unwrap(),
            home.join("data"),
            dir.path().join("admin.sock"),
            dir.path().join("profiles"),
        );
        std::fs::write(home.join("config.toml"), config).unwrap();
        finished(&dir.path().join("policy.toml"), POLICY);
        let spec = Spec {
            name: "issuer".to_owned(),
            program: built("avouch-issuer"),
            config: home.join("config.toml"),
            dir: home,
            socket,
            clock: None,
        };
        let mut issuer = Service { spec, process: None };
        issuer.start();
        let world = Self { dir, issuer };
        world.avouch(&["entry", "add", "spiffe://market.example/operator"]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The policy file that all services share.
    pub(crate) fn policy(&self) -> PathBuf {
        self.path("policy.toml")
    }

    /// Puts a policy into place at once; services look for it every 50 ms.
    pub(crate) fn set_policy(&self, more: &str) {
        self.replace_policy(|policy| format!("{policy}{more}"));
    }

    /// As [`World::set_policy`], made of the first one.
    pub(crate) fn replace_policy(&self, make: impl FnOnce(&str) -> String) {
        let new = self.path("policy.new");
        finished(&new, &make(POLICY));
        std::fs::rename(new, self.policy()).unwrap();
    }

    /// A service that is told its token; not started.
    pub(crate) fn service(&self, name: &str) -> Service {
        self.service_of(name, None)
    }

    /// As [`World::service`], with certificates of this life.
    pub(crate) fn service_of(&self, name: &str, life: Option<&str>) -> Service {
        let token = self.token(name, life);
        let mut identity = String::from("[identity]\nsource = \"issuer\"\n");
        let _ = write!(
            identity,
            "address = \"{}\"\njoin_token_file = {token:?}\nstate_dir = {:?}\n",
            self.issuer.address(),
            self.path(name).join("identity"),
        );
        let dir = self.path(name);
        private(&dir);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            "[service]\naddress = \"{}\"\n[health]\nlisten = \"127.0.0.1:0\"\n\
             [authz]\npolicy = {:?}\nwatch_interval = \"50ms\"\n\
             {identity}[{name}]\ndatabase = {:?}\n",
            socket.local_addr().unwrap(),
            self.policy(),
            dir.join("database"),
        );
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let spec = Spec {
            name: name.to_owned(),
            program: built(&format!("market-{name}")),
            config: dir.join("config.toml"),
            dir,
            socket,
            clock: None,
        };
        Service { spec, process: None }
    }

    /// A running ledger.
    pub(crate) fn ledger(&self) -> Service {
        let mut ledger = self.service("ledger");
        ledger.start();
        ledger
    }

    /// A fresh join token in a file of its own.
    pub(crate) fn token(&self, name: &str, life: Option<&str>) -> PathBuf {
        let path = self.path(&format!("{name}.token"));
        let id = format!("spiffe://market.example/{name}");
        let mut words = vec!["token", "create", &id, "--register", "--out", path.to_str().unwrap()];
        words.extend(life.iter().flat_map(|life| ["--svid-ttl", life]));
        let said = self.avouch(&words);
        assert_eq!(said.status, Some(0), "{}", said.text);
        path
    }

    /// What a person gets who runs `avouch` on the issuer's host.
    pub(crate) fn avouch(&self, words: &[&str]) -> Said {
        let output = alone(built("avouch"), self.dir.path())
            .args(words)
            .env("AVOUCH_ADMIN_SOCKET", self.path("admin.sock"))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { status: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
    }
}

/// The profiles that ship, but for shorter lives, so that nobody waits long for an end.
fn profiles(into: &Path) {
    private(into);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs");
    for name in ["root.toml", "signing-authority.toml", "svid.toml"] {
        let text = std::fs::read_to_string(shipped.join(name)).unwrap();
        let shorter = text.replace("min_lifetime = \"10s\"", "min_lifetime = \"5s\"");
        std::fs::write(into.join(name), shorter).unwrap();
    }
}

/// Writes a policy that looks as if it had been written long ago: nobody who reads it waits whether it grows.
fn finished(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

pub(crate) fn private(path: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}
