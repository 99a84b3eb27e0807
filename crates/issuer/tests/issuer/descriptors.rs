//! A workload whose listeners are flooded until no descriptor is left for them goes on renewing: it has some that no
//! listener takes.

use crate::harness::{ORDERS, World, eventually};
use avouch_attacker::floods::sockets::HalfOpen;
use avouch_issuer::store::{CertificateFilter, Origin, Page};
use avouch_service::{Boot, Flags, LaunchOptions};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic::service::Routes;

/// Where a workload in a process of its own finds its configuration.
const CONFIG: &str = "AVOUCH_TEST_WORKLOAD";

/// What the workload may have; a quarter is its reserve.
const DESCRIPTORS: u64 = 160;

struct Workload(Child);

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Workload {
    fn start(config: &Path, log: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "descriptors::a_workload_in_a_process_of_its_own", "--nocapture"]);
        command.env(CONFIG, config).stdout(Stdio::null());
        Self(command.stderr(std::fs::File::create(log).unwrap()).spawn().unwrap())
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count()
    }
}

/// Nothing unless it is run by the test below, which kills it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_in_a_process_of_its_own() {
    let Some(config) = std::env::var_os(CONFIG) else { return };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(DESCRIPTORS);
    setrlimit(Resource::Nofile, limit).unwrap();
    let flags = Flags { config: vec![PathBuf::from(config)], ..Flags::default() };
    let launch = LaunchOptions { flags, ..LaunchOptions::default() };
    let app = Boot::new("orders", &[], &launch).await.unwrap().start().await.unwrap();
    app.serve(Routes::default()).await.unwrap();
}

/// A certificate that was issued after `serial`s were.
async fn renewed(world: &World, before: &[String]) -> bool {
    serials(world).await.iter().any(|serial| !before.contains(serial))
}

async fn serials(world: &World) -> Vec<String> {
    let filter =
        CertificateFilter { spiffe_id: Some(ORDERS.parse().unwrap()), ..CertificateFilter::default() };
    let found = world.issuer().store().certificates(filter, Page::all()).await.unwrap();
    found.into_iter().filter(|row| row.origin != Origin::Enroll).map(|row| row.serial).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_requests_on_all_its_ports_do_not_keep_a_workload_from_renewing() {
    let mut world = World::in_real_time(|_| {}).await;
    let token = world.invited(ORDERS).await;
    let place = world.temp.path().join("orders");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("token"), token.encode()).unwrap();
    let (config, addresses, log) = (place.join("orders.toml"), place.join("address.json"), place.join("log"));
    let text = format!(
        "[identity]\nsource = 'issuer'\naddress = '{}'\njoin_token_file = {:?}\nstate_dir = {:?}\n[service]\n\
         address_file = {addresses:?}\n",
        world.address,
        place.join("token"),
        place.join("state"),
    );
    std::fs::write(&config, text).unwrap();
    let workload = Workload::start(&config, &log);
    let [grpc, health] = eventually("the workload's addresses", async || {
        let text = std::fs::read_to_string(&addresses).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        let address = |name: &str| value[name].as_str()?.parse::<SocketAddr>().ok();
        Some([address("grpc")?, address("health")?])
    })
    .await;

    let pace = Duration::from_millis(1);
    let flood = |target| HalfOpen::keep(target, None, 300, Vec::new(), pace);
    let _floods = (flood(grpc), flood(health));
    eventually("the flood takes what it gets", async || {
        std::fs::read_to_string(&log).unwrap().contains("out of descriptors").then_some(())
    })
    .await;

    // Whatever the workload had open to its issuer is gone: it needs new descriptors to renew, and for its files.
    world.restart().await;
    let before = serials(&world).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !renewed(&world, &before).await {
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(tokio::time::Instant::now() < deadline, "no renewal: {log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(place.join("state/svid.pem").exists());
    assert!(workload.descriptors() as u64 <= DESCRIPTORS - DESCRIPTORS / 4 + 12);
}
