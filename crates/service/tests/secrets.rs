//! Whatever is wrong with a file that holds a secret, no octet of the secret is in anything that a process says: its
//! output and log at their most talkative, its pages, its status, its records. Real processes are given damaged files at
//! their start and while they run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use avouch_api::observe::v1::observe_client::ObserveClient;
use avouch_api::observe::v1::{GetStatusRequest, ListRecordsRequest};
use avouch_attacker::leaks::{Secrets, damaged};
use avouch_files::write_secret;
use avouch_spiffe::JoinToken;
use avouch_testkit::program::alone;
use support::{Ca, channel, client, minimal};

const HOUR: Duration = Duration::from_secs(3600);
/// Processes at a time: more wait for the processor only.
const AT_A_TIME: usize = 4;
/// No issuer listens there.
const NOBODY: &str = "127.0.0.1:1";

/// One process with files of its own.
struct Case {
    name: String,
    dir: PathBuf,
    child: Child,
}

impl Case {
    /// Starts a process with this configuration, in which `DIR` is its directory.
    fn start(name: String, dir: PathBuf, config: &str, env: Vec<(&'static str, PathBuf)>) -> Self {
        let config = config.replace("DIR", dir.to_str().unwrap());
        fs::write(dir.join("minimal.toml"), config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let child = alone(minimal(), &dir)
            .arg("--config")
            .arg(dir.join("minimal.toml"))
            .env("RUST_LOG", "trace")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { name, dir, child }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap()).into_owned()
    }

    /// Waits until the process has ended or `happened`.
    fn until(&mut self, what: &str, happened: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() && !happened(self) {
            assert!(Instant::now() < deadline, "{}: never happened: {what}\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The addresses of a process that serves.
    fn address(&self, of: &str) -> Option<SocketAddr> {
        let addresses: serde_json::Value =
            serde_json::from_slice(&fs::read(self.dir.join("address.json")).ok()?).ok()?;
        addresses.get(of)?.as_str()?.parse().ok()
    }

    /// The pages of its health port.
    fn pages(&self, health: SocketAddr) -> String {
        ["/livez", "/readyz", "/metrics"].map(|path| page(health, path)).concat()
    }

    /// Ends the process; everything in its directory that it wrote to be read.
    fn end(mut self) -> Vec<u8> {
        let _ = self.child.kill();
        self.child.wait().unwrap();
        let mut said = fs::read(self.dir.join("log")).unwrap();
        said.extend(fs::read(self.dir.join("records.jsonl")).unwrap_or_default());
        said
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn page(address: SocketAddr, path: &str) -> String {
    let mut text = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes())?;
        stream.read_to_string(&mut text)
    });
    asked.map(|_| text).unwrap_or_default()
}

/// Does `work` for each, several at a time; what it says that it must not.
fn each<T: Send>(items: Vec<T>, work: impl Fn(T) -> Vec<String> + Sync) -> Vec<String> {
    let items = std::sync::Mutex::new(items.into_iter());
    let worker = || {
        let next = || items.lock().unwrap().next();
        std::iter::from_fn(next).flat_map(&work).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// The lines of an output that hold a piece of a secret.
fn leaks(secrets: &Secrets, name: &str, said: &[u8]) -> Vec<String> {
    let lines: Vec<_> = said.split(|octet| *octet == b'\n').collect();
    let shown =
        |line: usize| String::from_utf8_lossy(lines.get(line - 1).copied().unwrap_or_default()).into_owned();
    let found = secrets.leaks(said);
    found.into_iter().map(|leak| format!("{name}: {} in `{}`", leak.form, shown(leak.line))).collect()
}

/// A CA, and what a process called `minimal` has from it.
struct World {
    ca: Ca,
    key: String,
    secrets: Secrets,
}

impl World {
    fn new() -> Self {
        let ca = Ca::new();
        ca.svid("minimal", HOUR);
        ca.write("policy.toml", "[roles]\noperator = ['spiffe://market.example/probe']\n");
        let key = fs::read_to_string(ca.path("minimal.key")).unwrap();
        let mut secrets = Secrets::default();
        secrets.keys(&key);
        Self { ca, key, secrets }
    }

    fn dir(&self, name: &str, number: usize) -> PathBuf {
        let dir = self.ca.path(&format!("{name}-{number}"));
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// A configuration with an identity from files, whose key is `DIR/key.pem`.
    fn files(&self) -> String {
        format!(
            "[identity]\nsource = 'files'\ncertificate = {:?}\nkey = 'DIR/key.pem'\nbundle = {:?}\npoll_interval = '20ms'\n\
             [authz]\npolicy = {:?}\n[service]\naddress_file = 'DIR/address.json'\n[records]\nfile = 'DIR/records.jsonl'\n",
            self.ca.path("minimal.pem"),
            self.ca.path("bundle.pem"),
            self.ca.path("policy.toml")
        )
    }

    /// Every damage to `text`, each with a directory.
    fn damages(&self, name: &str, text: &str) -> Vec<(String, PathBuf, Vec<u8>)> {
        let damages = damaged(text).into_iter().enumerate();
        damages.map(|(at, (how, octets))| (format!("{name}, {how}"), self.dir(name, at), octets)).collect()
    }
}

fn serves(case: &Case) -> bool {
    case.address("health").is_some()
}

/// Nothing listens there for the moment.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_damaged_key_at_the_start_is_in_nothing_that_a_process_says() {
    let world = World::new();
    let found = each(world.damages("key", &world.key), |(name, dir, octets)| {
        write_secret(&dir.join("key.pem"), &octets).unwrap();
        let mut case = Case::start(name.clone(), dir, &world.files(), vec![]);
        case.until("it ends or serves", serves);
        leaks(&world.secrets, &name, &case.end())
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_damaged_while_a_process_runs_is_in_nothing_that_it_says() {
    let world = World::new();
    let probe = client(&world.ca).await;
    let runtime = tokio::runtime::Handle::current();
    let work = |(name, dir, octets): (String, PathBuf, Vec<u8>)| {
        let place = dir.join("key.pem");
        write_secret(&place, world.key.as_bytes()).unwrap();
        let mut case = Case::start(name.clone(), dir, &world.files(), vec![]);
        case.until("it serves", serves);
        let (Some(health), Some(grpc)) = (case.address("health"), case.address("grpc")) else {
            panic!("{name}: the good key is not taken: {}", case.log())
        };
        let told = |case: &Case| case.log().matches("key.pem").count();
        let before = told(&case);
        write_secret(&place, &octets).unwrap();
        if avouch_files::pem::private_key(&octets).is_err() {
            case.until("it says that the key is not good", |case| told(case) > before);
        }
        let status = runtime.block_on(async {
            let mut observe = ObserveClient::new(channel(&probe, grpc));
            let status = observe.get_status(GetStatusRequest {}).await.unwrap();
            let records = observe.list_records(ListRecordsRequest::default()).await.unwrap();
            format!("{status:?}\n{records:?}\n")
        });
        let mut said = case.pages(health).into_bytes();
        assert!(String::from_utf8_lossy(&said).contains("avouch_"), "{name}: no metrics");
        said.extend(status.into_bytes());
        said.extend(case.end());
        leaks(&world.secrets, &name, &said)
    };
    let found = tokio::task::block_in_place(|| each(world.damages("running", &world.key), work));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn damaged_keys_in_a_state_directory_are_in_nothing_that_a_process_says() {
    let world = World::new();
    let certificate = fs::read_to_string(world.ca.path("minimal.pem")).unwrap();
    let (secret, token) = token();
    let stored = format!("{}{certificate}", world.key);
    let mut cases = Vec::new();
    for (file, text) in [("svid.pem", &stored), ("pending-key.pem", &world.key)] {
        cases.extend(
            world.damages(file, text).into_iter().map(|(name, dir, octets)| (name, dir, file, octets)),
        );
    }
    let found = each(cases, |(name, dir, file, octets)| {
        let state = dir.join("state");
        avouch_files::create_private_dir(&state).unwrap();
        write_secret(&state.join(file), &octets).unwrap();
        write_secret(&dir.join("token"), token.as_bytes()).unwrap();
        let health = free();
        let config = format!(
            "[identity]\nsource = 'issuer'\naddress = '{NOBODY}'\njoin_token_file = 'DIR/token'\nstate_dir = 'DIR/state'\n\
             [health]\nlisten = '{health}'\n[records]\nfile = 'DIR/records.jsonl'\n"
        );
        let mut secrets = Secrets::default();
        secrets.keys(&world.key);
        secrets.octets(secret.as_bytes());
        secrets.token(&token);
        let mut case = Case::start(name.clone(), dir.clone(), &config, vec![]);
        // It makes a key, or goes on with the one that is there, and connects to the issuer.
        case.until("it asks the issuer", |case| {
            case.log().contains(NOBODY) && state.join("pending-key.pem").exists()
        });
        let mut said = case.pages(health).into_bytes();
        said.extend(case.end());
        secrets.keys_below(&state);
        leaks(&secrets, &name, &said)
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// A well-formed join token for an issuer that never answers, and the secret in it.
fn token() -> (String, String) {
    let secret = "q7Rk2VnX9bYt4LmZ8sWc1JdH6fPg3uTe".to_owned();
    let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
    let token = JoinToken::new(secret.clone(), issuer, vec![[7; 32]]).unwrap().encode();
    (secret, token)
}

#[test]
fn a_damaged_join_token_is_in_nothing_that_a_process_says() {
    let world = World::new();
    let (secret, token) = token();
    let mut secrets = Secrets::default();
    secrets.octets(secret.as_bytes());
    secrets.token(&token);
    let mut cases = world.damages("token", &format!("{token}\n"));
    cases.push(("a good token".into(), world.dir("good", 0), token.clone().into_bytes()));
    let found = each(cases, |(name, dir, octets)| {
        write_secret(&dir.join("token"), &octets).unwrap();
        let health = free();
        let config = format!(
            "[identity]\nsource = 'issuer'\naddress = '{NOBODY}'\njoin_token_file = 'DIR/token'\n[health]\nlisten = '{health}'\n"
        );
        let mut case = Case::start(name.clone(), dir, &config, vec![]);
        let told = |case: &Case| {
            let log = case.log();
            !page(health, "/readyz").is_empty() && (log.contains("token") || log.contains(NOBODY))
        };
        case.until("it says something of the token, or waits for the issuer", told);
        let mut said = case.pages(health).into_bytes();
        said.extend(case.end());
        leaks(&secrets, &name, &said)
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_damaged_key_for_the_trace_collector_is_in_nothing_that_a_process_says() {
    let world = World::new();
    let found = each(world.damages("collector", &world.key), |(name, dir, octets)| {
        write_secret(&dir.join("key.pem"), world.key.as_bytes()).unwrap();
        write_secret(&dir.join("collector.key"), &octets).unwrap();
        let env = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", PathBuf::from("https://127.0.0.1:1")),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", world.ca.path("bundle.pem")),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", world.ca.path("minimal.pem")),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", dir.join("collector.key")),
        ];
        let mut case = Case::start(name.clone(), dir, &world.files(), env);
        case.until("it ends or serves", serves);
        let mut said =
            case.address("health").map(|health| case.pages(health)).unwrap_or_default().into_bytes();
        said.extend(case.end());
        leaks(&world.secrets, &name, &said)
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// What a process says that ends by itself.
fn run(args: &[&str], env: &[(&str, &str)]) -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    let mut command = alone(minimal(), temp.path());
    let output = command.args(args).env("RUST_LOG", "trace").envs(env.iter().copied()).output().unwrap();
    [output.stdout, b"\n".to_vec(), output.stderr].concat()
}

#[test]
fn a_secret_that_was_pasted_into_the_configuration_is_in_nothing_that_a_process_says() {
    let world = World::new();
    let (secret, token) = token();
    let mut secrets = Secrets::default();
    secrets.keys(&world.key);
    secrets.octets(secret.as_bytes());
    secrets.token(&token);
    let mut pasted: Vec<(usize, String)> = Vec::new();
    for text in [&world.key, &token] {
        pasted.push((pasted.len(), text.clone()));
        let others = damaged(text).into_iter().filter(|(how, _)| !how.starts_with("a tenth"));
        pasted.extend(others.filter_map(|(_, octets)| Some((0, String::from_utf8(octets).ok()?))));
    }
    let found = each(pasted.into_iter().enumerate().collect(), |(at, (_, text))| {
        let dir = world.dir("pasted", at);
        let json = serde_json::to_string(&text).unwrap();
        let mut said = Vec::new();
        for (number, config) in [
            // As it is, so that each line of it is one of the file; in quotes that end with the line; as a good string.
            format!("[identity]\nsource = 'files'\nkey = {text}\n"),
            format!("[identity]\nsource = 'files'\nkey = \"{text}\"\n"),
            format!("[identity]\nsource = 'issuer'\njoin_token_file = {json}\n"),
            format!("[identity]\nsource = 'files'\nkey = {json}\n"),
            format!("[authz]\npolicy = {json}\n"),
            format!("[service]\nlisten = {json}\n"),
            format!("[records]\nkeep = {json}\n"),
            format!("[service]\n{json} = 1\n"),
            format!("[{json}]\n"),
        ]
        .iter()
        .enumerate()
        {
            let path = dir.join(format!("{number}.toml"));
            fs::write(&path, config).unwrap();
            let path = path.to_str().unwrap();
            // Each way through the reader once: the layers are the same for all texts.
            let more: &[&str] =
                if at % 9 == number { &["", "--show-config", "--check-config"] } else { &["--check-config"] };
            for flag in more {
                let args: Vec<&str> =
                    ["--config", path, flag].into_iter().filter(|arg| !arg.is_empty()).collect();
                said.extend(run(&args, &[]));
            }
        }
        if !text.contains('\0') {
            let set = format!("identity.key={text}");
            for args in [["--set", &set], ["--set", &text], ["--config", &text], [&text, "--health"]] {
                said.extend(run(&args, &[]));
            }
            for variable in ["AVOUCH_IDENTITY__KEY", "AVOUCH_CONFIG", "AVOUCH_SERVICE__LISTEN"] {
                said.extend(run(&[], &[(variable, &text)]));
            }
        }
        // The messages name the mark of what they refuse.
        let found = secrets.pieces_in(&said);
        let shown = |leak: &avouch_attacker::leaks::Leak| {
            let lines =
                String::from_utf8_lossy(&said).lines().nth(leak.line - 1).unwrap_or_default().to_owned();
            format!("{text:?}: {} in `{lines}`", leak.form)
        };
        found.iter().map(shown).collect()
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_search_itself_finds_what_a_process_would_say() {
    let world = World::new();
    let dir = world.dir("search", 0);
    let said = format!("error: cannot read {:?}\n", world.key);
    assert!(!leaks(&world.secrets, "a quoted key", said.as_bytes()).is_empty());
    assert!(leaks(&world.secrets, "an honest line", b"error: cannot read /etc/key.pem\n").is_empty());
    assert!(
        Path::new(&dir).exists() && minimal().exists(),
        "run the package's tests without a target filter"
    );
}
