//! A host: what `deploy/systemd/install` installs, below a directory, and as much of a service manager as it takes to
//! start its units in earnest: sockets, credentials, directories, specifiers, readiness. It confines nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use avouch_testkit::program::alone;

/// Nothing here takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts its standard input where a service manager puts the first socket, says so as one would, and becomes `"$@"`.
const PASS: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";

/// The programs, which cargo builds with the whole workspace.
pub(crate) fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().to_path_buf();
    let program = built.join("market-ledger");
    assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    built
}

/// A unit file with its drop-ins, as an instance.
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Section, key and value of each line.
    lines: Vec<(String, String, String)>,
}

impl Unit {
    /// What stands behind the `@`, or the empty text.
    pub(crate) fn instance(&self) -> &str {
        let stem = self.name.rsplit_once('.').unwrap().0;
        stem.split_once('@').map_or("", |(_, instance)| instance)
    }

    /// Every value of a key.
    pub(crate) fn all<'a>(&'a self, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
        let wanted = move |line: &&(String, String, String)| line.0 == section && line.1 == key;
        self.lines.iter().filter(wanted).map(|line| line.2.as_str())
    }

    /// The one value of a key.
    pub(crate) fn one<'a>(&'a self, section: &'a str, key: &'a str) -> &'a str {
        let values: Vec<_> = self.all(section, key).collect();
        let [value] = values[..] else { panic!("{}: {key}= is there {} times", self.name, values.len()) };
        value
    }

    fn read(&mut self, path: &Path) {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut section = "";
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = name,
                None => {
                    let (key, value) =
                        line.split_once('=').unwrap_or_else(|| panic!("{line} in {}", self.name));
                    self.lines.push((section.to_owned(), key.to_owned(), value.to_owned()));
                }
            }
        }
    }
}

/// The host.
pub(crate) struct Host {
    root: tempfile::TempDir,
}

impl Host {
    /// Installs programs, units and configuration, exactly as on a real host.
    pub(crate) fn install() -> Self {
        // Short: an admin socket's path may not be long.
        let root = tempfile::Builder::new().prefix("avh").tempdir().unwrap();
        let output = Command::new(crate::deploy().join("systemd/install"))
            .arg("--destdir")
            .args([root.path(), &built()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { root }
    }

    /// A path on the host.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn units(&self) -> PathBuf {
        self.path("/usr/local/lib/systemd/system")
    }

    /// The names of the units that are there, and of each template those whose instance has a socket.
    pub(crate) fn unit_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for file in std::fs::read_dir(self.units()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if let Some(stem) = name.strip_suffix(".socket") {
                names.push(format!("{stem}.service"));
                names.push(name);
            }
        }
        names.sort();
        names
    }

    /// A unit, read as systemd reads it: the file or its template's, then the drop-ins for the name's prefix.
    pub(crate) fn unit(&self, name: &str) -> Unit {
        let mut unit = Unit { name: name.to_owned(), lines: Vec::new() };
        let mut path = self.units().join(name);
        if !path.exists() {
            path = self.units().join(name.replace(unit.instance(), ""));
        }
        unit.read(&path);
        if name.ends_with(".service") {
            unit.read(&self.units().join("avouch-.service.d/common.conf"));
        }
        unit
    }

    fn credentials(&self, unit: &Unit) -> PathBuf {
        self.path("/run/credentials").join(&unit.name)
    }

    /// A value with its specifiers filled in.
    pub(crate) fn specified(&self, unit: &Unit, value: &str) -> String {
        let credentials = self.credentials(unit).display().to_string();
        let value = value.replace("%i", unit.instance()).replace("%d", &credentials);
        assert!(!value.contains('%'), "{value}: a specifier that is not known here");
        value
    }

    /// The words of a service's start line, and its environment; paths are on this host.
    pub(crate) fn start_line(&self, unit: &Unit) -> (Vec<String>, Vec<(String, String)>) {
        let line = self.specified(unit, unit.one("Service", "ExecStart"));
        let word = |word: &str| match word.strip_prefix('/') {
            Some(_) => self.path(word).display().to_string(),
            None => word.to_owned(),
        };
        let variable = |text: &str| {
            let text = self.specified(unit, text);
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let words = line.split_whitespace().map(word).collect();
        (words, unit.all("Service", "Environment").map(variable).collect())
    }

    /// Lets the configuration name paths of this host, and ports that are free: a socket for each `ListenStream=` under
    /// the service it is for, and whatever the system chooses for the rest.
    pub(crate) fn move_in(&self) -> BTreeMap<String, TcpListener> {
        let mut sockets = BTreeMap::new();
        let mut ports = Vec::new();
        for name in self.unit_names().iter().filter(|name| name.ends_with(".socket")) {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = self.unit(name).one("Socket", "ListenStream").to_owned();
            ports.push((address, socket.local_addr().unwrap().to_string()));
            sockets.insert(name.replace(".socket", ".service"), socket);
        }
        for file in std::fs::read_dir(self.path("/etc/avouch")).unwrap() {
            let path = file.unwrap().path();
            // A policy names methods and no paths.
            if path.is_dir() || path.ends_with("policy.toml") {
                continue;
            }
            let mut text = std::fs::read_to_string(&path).unwrap();
            text = text.replace("\"/", &format!("\"{}/", self.root.path().display()));
            for (written, real) in &ports {
                text = text.replace(written, real);
            }
            std::fs::write(path, on_free_ports(&text)).unwrap();
        }
        // What all hosts have in common names no path and no other service's port.
        for file in std::fs::read_dir(self.path("/usr/local/share/avouch")).unwrap() {
            let path = file.unwrap().path();
            std::fs::write(&path, on_free_ports(&std::fs::read_to_string(&path).unwrap())).unwrap();
        }
        sockets
    }

    /// Starts a service with its socket, and waits until it says that it is ready.
    pub(crate) fn start(&self, name: &str, socket: &TcpListener) -> Service {
        let service = self.spawn(name, socket);
        service.hears("READY=1");
        service
    }

    /// Starts a service with its socket.
    pub(crate) fn spawn(&self, name: &str, socket: &TcpListener) -> Service {
        let unit = self.unit(name);
        let (words, environment) = self.start_line(&unit);
        let mut command = Command::new("sh");
        command.args(["-c", PASS, "sh"]).args(words);
        command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        self.spawn_as(&unit, command, environment)
    }

    /// Starts `command` as a service manager would start that of `unit`.
    pub(crate) fn spawn_as(
        &self,
        unit: &Unit,
        mut command: Command,
        environment: Vec<(String, String)>,
    ) -> Service {
        self.prepare(unit);
        let notify = self.path("/run/notify").join(&unit.name);
        let addresses = self.path("/run/addresses").join(&unit.name);
        for path in [&notify, &addresses] {
            private(path.parent().unwrap());
            let _ = std::fs::remove_file(path);
        }
        let manager = UnixDatagram::bind(&notify).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = self.path("/run").join(format!("{}.log", unit.name));
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NOTIFY_SOCKET", notify)
            .env("CREDENTIALS_DIRECTORY", self.credentials(unit))
            .env("AVOUCH_SERVICE__ADDRESS_FILE", &addresses)
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(file);
        Service { child: command.spawn().unwrap(), manager, addresses, log }
    }

    /// Directories and credentials.
    fn prepare(&self, unit: &Unit) {
        for (key, place) in [("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")] {
            for directory in unit.all("Service", key) {
                let path = self.path(place).join(self.specified(unit, directory));
                private(path.parent().unwrap());
                private(&path);
            }
        }
        private(&self.credentials(unit));
        for credential in unit.all("Service", "LoadCredential") {
            let (id, path) = credential.split_once(':').unwrap();
            let default =
                unit.all("Service", "SetCredential").find_map(|set| set.strip_prefix(&format!("{id}:")));
            let content = std::fs::read_to_string(self.path(&self.specified(unit, path)));
            let content = content.ok().or_else(|| default.map(str::to_owned));
            let content = content.unwrap_or_else(|| panic!("{}: no credential {id}, so no start", unit.name));
            std::fs::write(self.credentials(unit).join(id), content).unwrap();
        }
    }

    /// Runs the operator's command against the issuer of this host.
    pub(crate) fn avouch(&self, arguments: &[&str]) {
        let output = alone(self.path("/usr/local/bin/avouch"), self.root.path())
            .args(arguments)
            .env("AVOUCH_ADMIN_SOCKET", self.path("/run/avouch-issuer/admin.sock"))
            .output()
            .unwrap();
        assert!(output.status.success(), "avouch {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A join token of a market's service, where its unit looks for it.
    pub(crate) fn token(&self, name: &str) -> PathBuf {
        let path = self.path("/etc/avouch/tokens").join(name);
        let id = format!("spiffe://market.example/{name}");
        self.avouch(&["token", "create", &id, "--register", "--out", path.to_str().unwrap()]);
        path
    }
}

/// A configuration whose listeners are where the system chooses.
fn on_free_ports(text: &str) -> String {
    let line = |line: &str| match line.split_once("listen = ") {
        Some((key, _)) => format!("{key}listen = \"127.0.0.1:0\""),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A connection to where somebody will listen soon.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn private(path: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

/// A running service.
pub(crate) struct Service {
    child: Child,
    manager: UnixDatagram,
    addresses: PathBuf,
    log: PathBuf,
}

impl Service {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the service manager is told `word`.
    pub(crate) fn hears(&self, word: &str) {
        let mut message = [0; 256];
        let length = self.manager.recv(&mut message);
        let length = length.unwrap_or_else(|error| panic!("no {word} ({error}): {}", self.log()));
        let heard = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(heard.lines().any(|line| line == word), "{heard}, not {word}: {}", self.log());
    }

    /// Asks it to stop, and waits for that.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn health(&self) -> SocketAddr {
        let text = std::fs::read_to_string(&self.addresses).unwrap();
        let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
        addresses["health"].as_str().unwrap().parse().unwrap()
    }

    /// A page of its health port.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.health()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Waits until a series is at least one.
    pub(crate) fn counts(&self, series: &str) {
        self.shows(series, |value| value >= 1.0);
    }

    /// Waits until a series has such a value.
    pub(crate) fn shows(&self, series: &str, wanted: fn(f64) -> bool) {
        let begun = Instant::now();
        loop {
            let page = self.page("/metrics");
            let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
            if value.is_some_and(wanted) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{series} is not as it should be in\n{page}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
