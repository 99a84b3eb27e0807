//! Units for one host: systemd reads them, they are confined, and the market starts from them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use crate::host::{Host, Service};
use avouch_testkit::program::alone;

pub(crate) const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

/// In tenths: how much of systemd's list of what a service might do is left open, of 100.
const EXPOSURE: &str = "9";

/// The configuration of a service on this host.
pub(crate) fn configuration(name: &str) -> toml::Table {
    crate::configuration(&[&format!("config/{name}.toml"), &format!("systemd/config/{name}.toml")])
}

/// The command, where this machine has it; else says loudly what is not looked at.
fn tool(name: &str, what: &str) -> Option<Command> {
    if crate::is_installed(name) {
        return Some(Command::new(name));
    }
    eprintln!("!! SKIPPED: no {name} on this machine, {what}");
    None
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What units refer to on every host, so that `--root` finds it.
fn furnish(host: &Host) {
    let to = host.path("/usr/lib/systemd/system");
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir("/usr/lib/systemd/system")
        .or_else(|_| std::fs::read_dir("/lib/systemd/system"))
        .unwrap()
    {
        let path = file.unwrap().path();
        let is_common = path.extension().is_some_and(|kind| kind == "target" || kind == "slice");
        if is_common && path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    std::fs::create_dir_all(host.path("/bin")).unwrap();
    std::fs::copy("/bin/kill", host.path("/bin/kill")).unwrap();
}

#[test]
fn systemd_finds_nothing_wrong_with_any_unit() {
    let Some(mut analyze) = tool("systemd-analyze", "the units were not verified") else { return };
    let host = Host::install();
    furnish(&host);
    let names = host.unit_names();
    assert_eq!(names.len(), 14, "{names:?}");
    let output = analyze
        .args(["verify", "--man=no", "--generators=no", "--recursive-errors=no"])
        .arg(format!("--root={}", host.path("/").display()))
        .args(&names)
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn no_service_is_more_exposed_than_it_has_to_be() {
    let Some(mut analyze) = tool("systemd-analyze", "the confinement was not judged") else { return };
    let host = Host::install();
    let names = host.unit_names();
    let output = analyze
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")])
        .arg(format!("--root={}", host.path("/").display()))
        .args(names.iter().filter(|name| name.ends_with(".service")))
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("Overall exposure level").count(), 7, "{said}");
}

#[test]
fn the_issuers_user_is_made_by_sysusers() {
    let Some(mut sysusers) = tool("systemd-sysusers", "the issuer's user was not made") else { return };
    let host = Host::install();
    std::fs::create_dir_all(host.path("/etc")).unwrap();
    let output =
        sysusers.arg("--dry-run").arg(format!("--root={}", host.path("/").display())).output().unwrap();
    let said = text(&output);
    let user = host.unit("avouch-issuer.service").one("Service", "User").to_owned();
    assert!(output.status.success() && said.contains(&format!("Creating user '{user}'")), "{said}");
}

#[test]
fn no_two_services_have_the_same_user() {
    let host = Host::install();
    let services = || host.unit_names().into_iter().filter(|name| name.ends_with(".service"));
    let users: BTreeSet<_> = services()
        .map(|name| {
            let unit = host.unit(&name);
            host.specified(&unit, unit.one("Service", "User"))
        })
        .collect();
    assert_eq!(users.len(), services().count(), "{users:?}");
}

#[test]
fn every_start_line_is_one_that_its_program_takes() {
    let host = Host::install();
    let _sockets = host.move_in();
    for name in host.unit_names().iter().filter(|name| name.ends_with(".service")) {
        let (words, environment) = host.start_line(&host.unit(name));
        let output = alone(&words[0], &host.path("/"))
            .args(&words[1..])
            .arg("--check-config")
            .envs(environment)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
    }
}

#[test]
fn every_socket_is_where_others_look_for_its_service() {
    let host = Host::install();
    let listen = |unit: &str| host.unit(&format!("{unit}.socket")).one("Socket", "ListenStream").to_owned();
    let issuer = listen("avouch-issuer");
    let mut all = BTreeSet::from([issuer.clone()]);
    for name in SERVICES {
        let own = listen(&format!("avouch-market@{name}"));
        let config = configuration(name);
        assert_eq!(config["identity"]["address"].as_str(), Some(&*issuer), "{name}");
        assert_eq!(config["identity"]["addresses"][0].as_str(), Some(&*own), "{name}");
        let upstreams = config.get("upstreams").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for (to, upstream) in upstreams {
            let address = listen(&format!("avouch-market@{to}"));
            assert_eq!(upstream["url"].as_str(), Some(&*format!("https://{address}")), "{name} to {to}");
            assert_eq!(upstream["id"].as_str(), Some(&*format!("/{to}")), "{name} to {to}");
        }
        all.insert(own);
    }
    assert_eq!(all.len(), 7, "two units share an address: {all:?}");
}

/// A started market, its issuer first.
pub(crate) struct Market {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) sockets: BTreeMap<String, TcpListener>,
    pub(crate) host: Host,
}

pub(crate) const ISSUER: &str = "avouch-issuer.service";

pub(crate) fn unit_of(name: &str) -> String {
    format!("avouch-market@{name}.service")
}

impl Market {
    /// The issuer and these services, each enrolled with a token.
    pub(crate) fn start(names: &[&str]) -> Self {
        let host = Host::install();
        let sockets = host.move_in();
        let mut services = BTreeMap::from([(ISSUER.to_owned(), host.start(ISSUER, &sockets[ISSUER]))]);
        for name in names {
            host.token(name);
            let unit = unit_of(name);
            services.insert(unit.clone(), host.start(&unit, &sockets[&unit]));
        }
        Self { services, sockets, host }
    }

    pub(crate) fn service(&self, name: &str) -> &Service {
        &self.services[&unit_of(name)]
    }
}

#[test]
fn the_market_starts_from_its_units() {
    let mut market = Market::start(&SERVICES);
    for service in market.services.values() {
        assert_eq!(service.page("/readyz"), "ready\n");
        assert!(!service.log().contains("\"level\":\"ERROR\""), "{}", service.log());
    }
    // Over their sockets: the reports read the ledger, and the ledger lets them.
    market.service("ledger").counts("avouch_decisions_total{reason=\"\",verdict=\"allow\"}");

    // A reload is one as systemd counts it.
    let ledger = market.services.remove(&unit_of("ledger")).unwrap();
    assert!(Command::new("kill").args(["-HUP", &ledger.id().to_string()]).status().unwrap().success());
    ledger.hears("RELOADING=1");
    ledger.hears("READY=1");

    // Its token is used and may go; it has its identity, and its socket has waited for it.
    std::fs::remove_file(market.host.path("/etc/avouch/tokens/ledger")).unwrap();
    assert_eq!(ledger.stop(), Some(0));
    let socket = &market.sockets[&unit_of("ledger")];
    let meanwhile = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let ledger = market.host.start(&unit_of("ledger"), socket);
    assert_eq!(ledger.page("/readyz"), "ready\n");
    drop(meanwhile);
}

#[test]
fn without_a_token_a_service_says_what_is_missing_and_fails_so_that_it_is_tried_again() {
    let market = Market::start(&[]);
    let mut ledger = market.host.spawn(&unit_of("ledger"), &market.sockets[&unit_of("ledger")]);
    assert_eq!(ledger.end(), Some(1), "64 would keep systemd from trying again");
    assert!(ledger.log().contains("holds no join token"), "{}", ledger.log());
}

#[test]
fn systemds_own_activation_starts_a_service_at_its_first_connection() {
    let Some(mut activate) = tool("systemd-socket-activate", "no service was activated by it") else {
        return;
    };
    let market = Market::start(&["ledger"]);
    let Market { mut services, sockets, host } = market;
    let ledger = services.remove(&unit_of("ledger")).unwrap();
    assert_eq!(ledger.stop(), Some(0));
    // The tool binds by itself: the socket that has been there makes room.
    let address = sockets[&unit_of("ledger")].local_addr().unwrap();
    drop(sockets);
    let unit = host.unit(&unit_of("ledger"));
    let (words, environment) = host.start_line(&unit);
    activate.args(["--fdname=mtls", "-l", &address.to_string()]);
    for name in ["NOTIFY_SOCKET", "AVOUCH_SERVICE__ADDRESS_FILE", "CREDENTIALS_DIRECTORY"] {
        activate.args(["-E", name]);
    }
    for (name, _) in &environment {
        activate.args(["-E", name]);
    }
    activate.args(&words);
    let ledger = host.spawn_as(&unit, activate, environment);
    let _connection = crate::host::connect(address);
    ledger.hears("READY=1");
    assert_eq!(ledger.page("/readyz"), "ready\n");
    assert!(ledger.log().contains(&format!("\"grpc\":\"{address}\"")), "{}", ledger.log());
}

#[test]
fn a_real_systemd_runs_the_units_as_they_are_and_confined() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/under-systemd.sh"))
        .args([&crate::host::built(), out.path()])
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        eprintln!(
            "!! SKIPPED: systemd needs root, overlayfs and cgroup v2 here, the units did not run under it"
        );
        return;
    }
    let file = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap_or_default();
    let log = file("log");
    let ready = (7100..=7106).map(|port| format!("{port}: ready"));
    let steps = ["reload: done", "restart: ready", "killed: active, ready", "users: 6", "trial: over"];
    for step in ready.chain(steps.map(str::to_owned)).chain(["capabilities: 0000000000000000".to_owned()]) {
        let seen = log.lines().any(|line| line == step);
        assert!(seen, "no `{step}` in\n{log}\n{}\n{}", text(&output), file("journal"));
    }
}
