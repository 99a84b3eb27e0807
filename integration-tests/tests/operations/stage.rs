//! Where the commands of a page run: a host below a directory, its issuer and services for real, and stand-ins on `PATH`
//! for what a test cannot have: a service manager, its journal, a cluster.
//!
//! The commands are those of the page. Only names of places are translated: absolute paths to the same below the host's
//! root, and addresses of the page to those that were free.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::host::{Host, Service, built};
use avouch_testkit::program::alone;

/// Begins with what stands on the pages.
const PLACES: [&str; 5] = ["/etc/avouch", "/var/lib", "/var/backups", "/run/avouch-issuer", "/usr/local"];

/// Hands its arguments to the test, and says what the test answers.
const SYSTEMCTL: &str = r#"#!/bin/sh
printf '%s\n' "$*" >"$BUS/request"
{ read -r status; cat; } <"$BUS/reply"
exit "$status"
"#;

/// Reads what the services of this host have written.
const JOURNALCTL: &str = r#"#!/bin/sh
units='' text=. lines=+1
while [ $# -gt 0 ]; do
    case $1 in
    -u) units="$units $2" ;;
    -g) text=$2 ;;
    -n) lines=$2 ;;
    --since | -o) ;;
    *) echo "journalctl: $1 is not known here" >&2; exit 64 ;;
    esac
    shift 2
done
for unit in $units; do
    case $unit in *.service | *'*') ;; *) unit=$unit.service ;; esac
    cat "$ROOT"/run/$unit.log
done | grep -e "$text" | tail -n "$lines"
"#;

/// The issuer's user would be made by the real one, which `deploy` tries; here, that it finds its file.
const SYSUSERS: &str = "#!/bin/sh\ntest -f \"$ROOT/usr/local/lib/sysusers.d/avouch.conf\"\n";

/// Has built already, what the page builds in release.
const CARGO: &str = r#"#!/bin/sh
[ "$*" = 'build --release --locked --bins' ] || { echo "cargo: $* is not known here" >&2; exit 64; }
"#;

/// Renders and looks at what is applied, and runs `avouch` where a pod would.
const KUBECTL: &str = r#"#!/bin/sh
fail() { echo "kubectl: $* is not known here" >&2; exit 64; }
said=$*
while :; do
    case ${1:-} in
    -n | --namespace) [ "$2" = avouch ] || fail "namespace $2"; shift 2 ;;
    *) break ;;
    esac
done
workload() { # KIND/NAME that the manifests have
    grep -q "^kind: StatefulSet" "deploy/kubernetes/base/${1#statefulset/}.yaml" || fail "$1"
}
printf '%s\n' "$said" >>"$ROOT/kubectl.calls"
case "$1 $2" in
'apply -k' | 'diff -k' | 'delete -k')
    [ -z "$REAL_KUBECTL" ] || "$REAL_KUBECTL" kustomize "$3" >"$ROOT/rendered.yaml" || exit
    [ -f "$3/kustomization.yaml" ] ;;
'apply --server-side') { echo ---; cat; } >>"$ROOT/applied.yaml" ;;
'exec issuer-0')
    [ "$3" = -- ] && [ "$4" = /usr/bin/avouch ] || fail "$said"
    shift 4
    exec "$ROOT/usr/local/bin/avouch" "$@" ;;
'get statefulset') workload "$3"; case $3 in storefront) printf 2 ;; *) printf 1 ;; esac ;;
'get pods') echo 'NAME READY STATUS' ;;
'rollout status' | 'rollout undo') case $3 in statefulset) workload "$4" ;; *) workload "$3" ;; esac ;;
'logs statefulset/'* | 'scale statefulset/'*) workload "$2" ;;
'set image') workload "$3"; case $4 in "${3#statefulset/}=registry.example/avouch/${3#statefulset/}:"*) ;; *) fail "$4" ;; esac ;;
'wait --for=delete') [ "$3" = pod/issuer-0 ] || fail "$3" ;;
*) fail "$said" ;;
esac
"#;

/// The configurations, in the order of their health ports: 7100, 7101, …
const CONFIGURED: [&str; 7] =
    ["issuer", "ledger", "inventory", "payments", "orders", "reports", "storefront"];

/// Nobody else's on this machine, of the sixteen million there are.
fn loopback() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 1 + (number >> 16) % 250, (number >> 8) % 256, 1 + number % 250)
}

/// A host with whatever runs on it.
pub(crate) struct Stage {
    pub(crate) host: Arc<Host>,
    running: Arc<Mutex<BTreeMap<String, Service>>>,
    /// Where the repository and what was built are, by the names that the pages use.
    checkout: tempfile::TempDir,
    bus: PathBuf,
    manager: Option<JoinHandle<()>>,
    /// Sockets: written on the pages, and where each is here.
    sockets: Vec<(String, String)>,
    /// An address of this host's own, so that health ports can be those of the pages.
    loopback: String,
}

impl Stage {
    /// Installed, and nothing started.
    pub(crate) fn new() -> Self {
        let host = Host::install();
        let configured: Vec<_> = host
            .unit_names()
            .into_iter()
            .filter(|name| name.ends_with(".socket"))
            .map(|name| host.unit(&name).one("Socket", "ListenStream").to_owned())
            .collect();
        let services: Vec<_> =
            host.unit_names().into_iter().filter(|name| name.ends_with(".socket")).collect();
        let sockets = host.move_in();
        let moved = services.iter().zip(configured).map(|(name, written)| {
            let socket = &sockets[&name.replace(".socket", ".service")];
            (written, socket.local_addr().unwrap().to_string())
        });
        let moved = moved.collect();
        let loopback = loopback();
        for (number, name) in CONFIGURED.iter().enumerate() {
            let path = host.path("/etc/avouch").join(format!("{name}.toml"));
            let text = std::fs::read_to_string(&path).unwrap();
            let health = format!("\nlisten = \"{loopback}:{}\"", 7100 + number);
            assert_eq!(text.matches("\nlisten = \"127.0.0.1:0\"").count(), 1, "{name}");
            std::fs::write(path, text.replace("\nlisten = \"127.0.0.1:0\"", &health)).unwrap();
        }
        let checkout = tempfile::tempdir().unwrap();
        symlink(crate::deploy().canonicalize().unwrap(), checkout.path().join("deploy")).unwrap();
        std::fs::create_dir(checkout.path().join("target")).unwrap();
        symlink(built(), checkout.path().join("target/release")).unwrap();
        let bus = checkout.path().join("bus");
        std::fs::create_dir(&bus).unwrap();
        let fifos = [bus.join("request"), bus.join("reply")];
        assert!(Command::new("mkfifo").args(fifos).status().unwrap().success());
        let bin = checkout.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for (name, script) in [
            ("systemctl", SYSTEMCTL),
            ("journalctl", JOURNALCTL),
            ("systemd-sysusers", SYSUSERS),
            ("cargo", CARGO),
            ("kubectl", KUBECTL),
        ] {
            std::fs::write(bin.join(name), script).unwrap();
            std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let (host, running) = (Arc::new(host), Arc::default());
        let manager = Manager { host: Arc::clone(&host), running: Arc::clone(&running), sockets };
        let manager = Some(std::thread::spawn({
            let bus = bus.clone();
            move || manager.serve(&bus)
        }));
        std::fs::create_dir_all(host.path("/var/backups")).unwrap();
        Self { host, running, checkout, bus, manager, sockets: moved, loopback }
    }

    /// With the issuer and these services running, by the commands of the installation's page.
    pub(crate) fn with(names: &[&str]) -> Self {
        let stage = Self::new();
        stage.run("systemctl enable --now avouch-issuer.service");
        stage.run("avouch entry add spiffe://market.example/operator --ttl 10m");
        for name in names {
            let token = format!("/etc/avouch/tokens/{name}");
            let create =
                format!("avouch token create spiffe://market.example/{name} --register --out {token}");
            stage.run(&format!("{create}\nsystemctl enable --now avouch-market@{name}.service\nrm {token}"));
        }
        stage
    }

    /// What a text of the pages means here.
    fn here(&self, text: &str) -> String {
        let root = self.host.path("/").display().to_string();
        let root = root.trim_end_matches('/');
        let mut text = PLACES.iter().fold(text.to_owned(), |text, place| {
            // Not within a longer path, and not twice.
            text.replace(&format!(" {place}"), &format!(" {root}{place}"))
                .replace(&format!("\"{place}"), &format!("\"{root}{place}"))
                .replace(&format!("={place}"), &format!("={root}{place}"))
        });
        text = text.replace("deploy/systemd/install ", &format!("deploy/systemd/install --destdir {root} "));
        for (written, real) in &self.sockets {
            text = text.replace(written, &real.replace("127.0.0.1", "localhost"));
        }
        text.replace("127.0.0.1", &self.loopback)
    }

    /// Runs commands as they stand on the page, one by one in one shell; gives what they print, and fails if one does.
    pub(crate) fn run(&self, commands: &str) -> String {
        let (status, printed) = self.attempt(commands);
        assert!(status, "{commands}\n{printed}\n{}", self.logs());
        printed
    }

    /// As [`Stage::run`], of commands that may fail: whether they did not, and what they printed.
    pub(crate) fn attempt(&self, commands: &str) -> (bool, String) {
        let text = self.here(commands);
        let path = [self.checkout.path().join("bin"), self.host.path("/usr/local/bin")].into_iter();
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path: OsString = std::env::join_paths(path.chain(std::env::split_paths(&inherited))).unwrap();
        let real = crate::deploy().join("../target/tools/kubernetes/bin/kubectl");
        let output = alone("sh", self.checkout.path())
            .args(["-euc", &text])
            .current_dir(self.checkout.path())
            .env("PATH", path)
            .env("BUS", &self.bus)
            .env("ROOT", self.host.path("/"))
            .env("REAL_KUBECTL", if real.is_file() { real.as_os_str() } else { "".as_ref() })
            .env("AVOUCH_ADMIN_SOCKET", self.host.path("/run/avouch-issuer/admin.sock"))
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    }

    /// Where a socket of the pages is here.
    pub(crate) fn socket(&self, written: &str) -> &str {
        let found = self.sockets.iter().find(|(of, _)| of == written);
        &found.unwrap_or_else(|| panic!("no socket {written}")).1
    }

    /// The process of a unit that runs.
    pub(crate) fn process(&self, unit: &str) -> u32 {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(unit).unwrap_or_else(|| panic!("{unit} does not run")).id()
    }

    /// What a unit has written, over all its lives.
    pub(crate) fn log(&self, unit: &str) -> String {
        std::fs::read_to_string(self.host.path("/run").join(format!("{unit}.log"))).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let tail =
            |text: String| text.lines().rev().take(8).map(|line| format!("  {line}\n")).collect::<String>();
        running.keys().map(|unit| format!("{unit}, newest first:\n{}", tail(self.log(unit)))).collect()
    }

    /// Waits until these commands succeed.
    pub(crate) fn until(&self, commands: &str) -> String {
        let begun = std::time::Instant::now();
        loop {
            let (status, printed) = self.attempt(commands);
            if status {
                return printed;
            }
            assert!(begun.elapsed().as_secs() < 60, "{commands}\n{printed}\n{}", self.logs());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::fs::write(self.bus.join("request"), "end\n").is_ok() {
            let _ = self.manager.take().map(JoinHandle::join);
        }
    }
}

/// The service manager behind the stand-in for `systemctl`.
struct Manager {
    host: Arc<Host>,
    running: Arc<Mutex<BTreeMap<String, Service>>>,
    sockets: BTreeMap<String, TcpListener>,
}

impl Manager {
    fn serve(&self, bus: &Path) {
        loop {
            let request = std::fs::read_to_string(bus.join("request")).unwrap();
            if request.trim() == "end" {
                return;
            }
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(request.trim())));
            let answer = answer.unwrap_or_else(|panic| {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                Err(format!("systemctl {}: {why}", request.trim()))
            });
            let reply = match answer {
                Ok(said) => format!("0\n{said}"),
                Err(said) => format!("1\n{said}\n"),
            };
            std::fs::write(bus.join("reply"), reply).unwrap();
        }
    }

    fn answer(&self, request: &str) -> Result<String, String> {
        let mut words = request.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let units: Vec<_> = words.collect();
        match (verb, &units[..]) {
            ("daemon-reload", []) => Ok(String::new()),
            ("enable" | "disable", ["--now", units @ ..]) => {
                self.each(if verb == "enable" { "start" } else { "stop" }, units)
            }
            ("start" | "stop" | "restart" | "reload" | "status" | "freeze" | "thaw", units @ [_, ..]) => {
                self.each(verb, units)
            }
            _ => Err(format!("systemctl {request}: not known here")),
        }
    }

    fn each(&self, verb: &str, units: &[&str]) -> Result<String, String> {
        let known = self.host.unit_names();
        let mut said = String::new();
        for pattern in units {
            let loaded = |unit: &&String| match pattern.split_once('*') {
                // Patterns go by what is loaded.
                Some((begin, end)) => {
                    let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                    unit.starts_with(begin) && unit.ends_with(end) && running.contains_key(*unit)
                }
                None => unit == pattern,
            };
            let matching: Vec<_> = known.iter().filter(loaded).collect();
            if matching.is_empty() {
                return Err(format!("there is no unit {pattern}"));
            }
            for unit in matching.into_iter().filter(|unit| unit.ends_with(".service")) {
                self.act(verb, unit)?;
                said += &format!("{unit}: {verb}\n");
            }
        }
        Ok(said)
    }

    fn act(&self, verb: &str, unit: &str) -> Result<(), String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let signal = |name: &str, service: &Service| {
            assert!(Command::new("kill").args([name, &service.id().to_string()]).status().unwrap().success());
        };
        if matches!(verb, "stop" | "restart") {
            let ended = running.remove(unit).map(Service::stop);
            if ended.is_some_and(|status| status != Some(0)) {
                return Err(format!("{unit} ended with {ended:?}"));
            }
        }
        match (verb, running.get(unit)) {
            ("stop", _) | ("start", Some(_)) => {}
            ("start" | "restart", None) => {
                running.insert(unit.to_owned(), self.host.start(unit, &self.sockets[unit]));
            }
            (_, None) => return Err(format!("{unit} does not run")),
            ("reload", Some(service)) => {
                signal("-HUP", service);
                service.hears("RELOADING=1");
                service.hears("READY=1");
            }
            ("freeze", Some(service)) => signal("-STOP", service),
            ("thaw", Some(service)) => signal("-CONT", service),
            _ => {}
        }
        Ok(())
    }
}
