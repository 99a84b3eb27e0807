//! The real process, killed without warning while workloads enroll: whatever certificate a workload holds is on record.

use crate::harness::{World, admin, connect, csr, eventually, token};
use avouch_api::admin::v1::{CreateEntryRequest, Entry, ListCertificatesRequest};
use avouch_spiffe::x509::Leaf;
use avouch_testkit::program::alone;
use rcgen::KeyPair;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::{Child, Command};

const ROUNDS: u32 = 8;
const WORKLOADS: usize = 6;

struct Process {
    child: Child,
    address: SocketAddr,
    socket: PathBuf,
}

impl Process {
    async fn start(place: &Path) -> Self {
        let (socket, address_file) = (place.join("run/admin.sock"), place.join("address.json"));
        let _ = std::fs::remove_file(&address_file);
        let child = Command::from(alone(env!("CARGO_BIN_EXE_avouch-issuer"), place))
            .env("AVOUCH_SERVICE__LISTEN", "127.0.0.1:0")
            .env("AVOUCH_SERVICE__ADDRESS_FILE", &address_file)
            .env("AVOUCH_HEALTH__LISTEN", "127.0.0.1:0")
            .env("AVOUCH_ISSUER__TRUST_DOMAIN", "market.example")
            .env("AVOUCH_ISSUER__DATA_DIR", place.join("data"))
            .env("AVOUCH_ISSUER__ADMIN_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(Stdio::from(std::fs::File::create(place.join("issuer.log")).unwrap()))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = eventually("the address file", async || {
            let text = std::fs::read_to_string(&address_file).ok()?;
            let value: serde_json::Value = serde_json::from_str(&text).ok()?;
            value["grpc"].as_str()?.parse().ok()
        })
        .await;
        Self { child, address, socket }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap(); // SIGKILL, to this child alone
    }
}

/// Enrolls again and again until the issuer is gone; keeps the serials of all certificates that came.
async fn enroll_until_killed(process: (SocketAddr, PathBuf), id: String, held: Arc<Mutex<BTreeSet<String>>>) {
    let (address, socket) = process;
    let mut admin = admin(&socket).await;
    loop {
        let request = avouch_api::admin::v1::CreateTokenRequest { spiffe_id: id.clone(), ttl: None };
        let Ok(made) = admin.create_token(request).await else { return };
        let token: avouch_spiffe::JoinToken = made.into_inner().token.parse().unwrap();
        let Ok(mut raw) = crate::harness::try_connect(address, None).await else { return };
        match raw.enroll(token.secret(), csr(&KeyPair::generate().unwrap(), &[])).await {
            Ok(svid) => {
                let leaf = Leaf::parse(&svid.chain[0]).unwrap();
                held.lock().unwrap().insert(leaf.serial().to_owned());
            }
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_killed_every_certificate_a_workload_holds_is_on_record() {
    let temp = tempfile::Builder::new().prefix("avk").tempdir().unwrap();
    let held = Arc::new(Mutex::new(BTreeSet::new()));
    let id = |n: usize| format!("spiffe://market.example/workload-{n}");
    for round in 0..ROUNDS {
        let process = Process::start(temp.path()).await;
        if round == 0 {
            let mut admin = admin(&process.socket).await;
            for n in 0..WORKLOADS {
                let entry = Entry { spiffe_id: id(n), ..Entry::default() };
                admin.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
            }
        }
        let enough = held.lock().unwrap().len() + 5 + round as usize;
        let workloads: Vec<_> = (0..WORKLOADS)
            .map(|n| {
                let place = (process.address, process.socket.clone());
                tokio::spawn(enroll_until_killed(place, id(n), Arc::clone(&held)))
            })
            .collect();
        eventually("some enrolments", async || (held.lock().unwrap().len() >= enough).then_some(())).await;
        process.kill().await;
        for workload in workloads {
            workload.await.unwrap();
        }
    }
    let process = Process::start(temp.path()).await;
    let everything =
        ListCertificatesRequest { include_expired: true, spiffe_id: String::new(), ..Default::default() };
    let rows = admin(&process.socket).await.list_certificates(everything).await.unwrap().into_inner();
    let on_record: BTreeSet<_> = rows.certificates.into_iter().map(|row| row.serial).collect();
    let held = held.lock().unwrap();
    assert!(
        held.is_subset(&on_record),
        "{} held, {} missing",
        held.len(),
        held.difference(&on_record).count()
    );
    assert!(held.len() >= 5 * ROUNDS as usize);
}

#[tokio::test]
async fn it_drains_on_sigterm_and_leaves_no_secret_in_its_log() {
    let temp = tempfile::Builder::new().prefix("avk").tempdir().unwrap();
    let mut process = Process::start(temp.path()).await;
    let mut admin = admin(&process.socket).await;
    let id = "spiffe://market.example/orders";
    let entry = Entry { spiffe_id: id.to_owned(), ..Entry::default() };
    admin.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
    let token = token(&mut admin, id).await;
    let key = KeyPair::generate().unwrap();
    let mut raw = connect(process.address, None).await;
    raw.enroll(token.secret(), csr(&key, &[])).await.unwrap();
    raw.enroll("not-a-token-but-a-secret-all-the-same", csr(&key, &[])).await.unwrap_err();

    let pid = rustix_pid(&process.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), process.child.wait()).await.unwrap().unwrap();
    let log = std::fs::read_to_string(temp.path().join("issuer.log")).unwrap();
    assert!(status.success(), "{log}");
    assert!(log.contains("certificate issued") && log.contains("JOIN_TOKEN_INVALID"), "{log}");
    for secret in [token.secret(), "not-a-token-but-a-secret", "PRIVATE KEY", "avjt1."] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
    assert!(!process.socket.exists());
}

fn rustix_pid(child: &Child) -> rustix::process::Pid {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

#[tokio::test]
async fn bad_settings_stop_the_start_with_the_exit_code_of_bad_usage() {
    let temp = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let run = async |name: &str, value: &str| {
        let output = Command::from(alone(env!("CARGO_BIN_EXE_avouch-issuer"), temp.path()))
            .env("AVOUCH_ISSUER__TRUST_DOMAIN", "market.example")
            .env("AVOUCH_ISSUER__DATA_DIR", temp.path().join("data"))
            .env("AVOUCH_ISSUER__ADMIN_SOCKET", temp.path().join("s/admin.sock"))
            .env("AVOUCH_SERVICE__LISTEN", "127.0.0.1:0")
            .env(name, value)
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, value, part) in [
        ("AVOUCH_ISSUER__TRUST_DOMAIN", "Market.Example", "lower case"),
        ("AVOUCH_ISSUER__SVID_TTL", "soon", "issuer.svid_ttl = soon: must be a duration"),
        ("AVOUCH_ISSUER__SVID_TLL", "20s", "svid_tll"),
        ("AVOUCH_ISSUER__RECOVERY_WINDOW", "90d", "issuer.recovery_window = 90d"),
    ] {
        let (code, text) = run(name, value).await;
        assert!(code == Some(64) && text.contains(part), "{name}={value}: {code:?} {text}");
    }
    let data_dir = world.config.data_dir.display().to_string();
    let (code, text) = run("AVOUCH_ISSUER__DATA_DIR", &data_dir).await;
    assert!(code == Some(1) && text.contains("another process uses"), "{code:?} {text}");
}
