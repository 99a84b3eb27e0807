//! `capacity.md`: what it says of a certificate's and a connection's cost is measured here, in one run of the real
//! programs, and may not be far from what the page says.

use std::time::{Duration, Instant};

use avouch_attacker::forge::Key;
use avouch_attacker::grpc::{Outcome, Session};
use avouch_attacker::issuer::{enroll_on, secret};
use avouch_attacker::tls::Approach;
use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use market_api::ledger::v1::GetTotalsRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;

use crate::pages::{figure, section};
use crate::stage::Stage;

const CERTIFICATES: u64 = 2_000;
const CONNECTIONS: u64 = 400;

/// Whether the page is right, more or less: memory differs a little from machine to machine.
fn is_stated(row: &str, measured: f64) -> bool {
    let stated = figure("capacity.md", row);
    eprintln!("{row}: {measured:.1} (the page says {stated})");
    (stated * 0.5..=stated * 1.6).contains(&measured)
}

/// Resident memory, in KiB.
fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Of the issuer's database, all of whose records are in it once it has ended.
fn stored(stage: &Stage) -> f64 {
    stage.run("systemctl stop avouch-issuer.service");
    let bytes = std::fs::metadata(stage.host.path("/var/lib/avouch-issuer/store.db")).unwrap().len();
    stage.run("systemctl start avouch-issuer.service");
    bytes as f64
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn the_page_states_what_is_measured() {
    let commands = section("capacity.md", "What it costs", 1).remove(0);
    assert!(commands.contains("--test operations") && commands.contains(" capacity"), "{commands}");

    let stage = Stage::with(&["ledger"]);
    let resident = |unit: &str| resident(stage.process(unit)) / 1024.0;
    let right = [
        is_stated("resident memory of an idle issuer", resident("avouch-issuer.service")),
        is_stated("resident memory of an idle service", resident("avouch-market@ledger.service")),
        is_stated("disk per certificate on record", disk_per_certificate(&stage)),
        is_stated("memory per connection", memory_per_connection(&stage)),
    ];
    assert!(right.iter().all(|right| *right), "capacity.md is wrong in what is shown above");
}

/// A token may be used again with its key, as after a crash; each time another certificate is issued.
fn disk_per_certificate(stage: &Stage) -> f64 {
    let more = "\n[issuer.rate_limits]\nunauthenticated_burst = 100000\n";
    let path = stage.host.path("/etc/avouch/issuer.toml");
    let configured = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, configured + more).unwrap();
    let before = stored(stage);
    let token = stage.run("avouch token create spiffe://market.example/measured --register");
    let (secret, key) = (secret(&token).unwrap(), Key::generate().unwrap());
    let issuer = stage.socket("127.0.0.1:7000").parse().unwrap();
    let begun = Instant::now();
    block_on(async {
        let mut left = CERTIFICATES;
        while left > 0 {
            let mut session = Session::open(issuer, Approach::showing(None)).await.unwrap().unwrap();
            for _ in 0..left.min(50) {
                let attempt = enroll_on(&mut session, &secret, &key, &[]).await.unwrap();
                assert!(
                    matches!(&attempt.outcome, Outcome::Answered(answer) if answer.status == 0),
                    "{attempt:?}"
                );
                left -= 1;
            }
        }
    });
    let rate = CERTIFICATES as f64 / begun.elapsed().as_secs_f64();
    eprintln!("certificates issued per second, one after the other, not optimized: {rate:.0}");
    assert!(rate > 40.0, "the page says that the issuer can do more than it admits; only {rate:.0} a second");
    (stored(stage) - before) / CERTIFICATES as f64
}

/// In the server, of connections over mutual TLS that have made one call each and are idle.
fn memory_per_connection(stage: &Stage) -> f64 {
    stage.run(
        "avouch token create spiffe://market.example/auditor --register --out /etc/avouch/tokens/auditor",
    );
    let ledger = stage.process("avouch-market@ledger.service");
    block_on(async {
        let identity = Identity::start(IdentityConfig::Issuer(IssuerConfig {
            address: stage.socket("127.0.0.1:7000").to_owned(),
            join_token_file: Some(stage.host.path("/etc/avouch/tokens/auditor")),
            state_dir: None,
            addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        }))
        .await
        .unwrap();
        let server: avouch_spiffe::SpiffeId = "spiffe://market.example/ledger".parse().unwrap();
        let url = format!("https://{}", stage.socket("127.0.0.1:7001"));
        let mut open = Vec::new();
        let mut connect = async |count: u64| {
            for _ in 0..count {
                let mut client = LedgerClient::new(identity.channel(&url, server.clone()).build().unwrap());
                client.get_totals(GetTotalsRequest {}).await.unwrap();
                open.push(client);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            resident(ledger)
        };
        // What is needed once, for any number of them, is there before it is counted.
        let first = connect(CONNECTIONS / 4).await;
        let all = connect(CONNECTIONS).await;
        (all - first) / CONNECTIONS as f64
    })
}
