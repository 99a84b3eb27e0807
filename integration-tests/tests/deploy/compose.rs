//! The market in one Compose file: Compose reads it, and it keeps containers from what they have no business with.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

/// The market's services; the issuer is none of them.
pub(crate) const SERVICES: [&str; 6] = ["inventory", "ledger", "orders", "payments", "reports", "storefront"];

type Pair = (String, String);

fn folder() -> PathBuf {
    crate::deploy().join("compose")
}

fn compose() -> Value {
    let text = std::fs::read_to_string(folder().join("compose.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn services(file: &Value) -> BTreeMap<&str, &Value> {
    file["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service)).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The configuration of a program in one of the places below `deploy/`.
pub(crate) fn configuration(place: &str, name: &str) -> toml::Table {
    let own = if name == "issuer" { "issuer.toml" } else { "services.toml" };
    crate::configuration(&[&format!("config/{name}.toml"), &format!("{place}/{own}")])
}

/// Who calls whom in the demo, by the configuration that the demo runs with.
pub(crate) fn calls() -> BTreeSet<Pair> {
    let upstreams =
        |name: &str| match crate::configuration(&[&format!("config/{name}.toml")]).get("upstreams") {
            Some(toml::Value::Table(table)) => table.keys().cloned().collect(),
            _ => Vec::new(),
        };
    SERVICES.iter().flat_map(|name| upstreams(name).into_iter().map(|to| ((*name).to_owned(), to))).collect()
}

/// The keys of a configuration with their values, `section.key`.
fn flat(table: &toml::Table, prefix: &str, found: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => flat(inner, &format!("{prefix}{key}."), found),
            value => {
                found.insert(format!("{prefix}{key}"), format!("{value:?}"));
            }
        }
    }
}

/// A configuration for containers says what the demo's says, but for where things are.
pub(crate) fn assert_as_in_the_demo(place: &str, name: &str) {
    let read = |place: &str| {
        let mut found = BTreeMap::new();
        flat(&configuration(place, name), "", &mut found);
        let where_it_is = ["listen", "address", "join_token_file", "policy"];
        found.retain(|key, _| !where_it_is.contains(&key.rsplit('.').next().unwrap_or(key)));
        found
    };
    assert_eq!(read(place), read("demo"), "{place}: {name}");
}

/// Runs a program of the market in `folder` with `environment`, and expects it to call its configuration good.
pub(crate) fn assert_configured(name: &str, environment: &BTreeMap<String, String>, folder: &Path) {
    let program = if name == "issuer" { "avouch-issuer".to_owned() } else { format!("market-{name}") };
    let mut command = avouch_testkit::program::alone(crate::host::built().join(program), folder);
    command.current_dir(folder).envs(environment).arg("--check-config");
    if name == "issuer" {
        command.args(["--set", &format!("issuer.admin_socket={:?}", folder.join("run/admin.sock"))]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The variables that Compose reads from beside its file.
fn dotenv() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join(".env")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn every_program_takes_the_configuration_of_its_container() {
    let (file, variables) = (compose(), dotenv());
    assert_eq!(variables.keys().collect::<Vec<_>>(), ["AVOUCH_TRUST_DOMAIN"]);
    let mut tried = 0;
    for (name, service) in services(&file) {
        let Some(environment) = service["environment"].as_object() else { continue };
        let deploy = crate::deploy().canonicalize().unwrap().display().to_string();
        let here = |value: &str| {
            value
                .replace("/etc/avouch/config/", &format!("{deploy}/config/"))
                .replace("/etc/avouch/place/", &format!("{deploy}/compose/place/"))
                .replace("/etc/avouch/demo/", &format!("{deploy}/demo/"))
                .replace("${AVOUCH_TRUST_DOMAIN}", &variables["AVOUCH_TRUST_DOMAIN"])
        };
        let mut environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| (name.clone(), here(value.as_str().unwrap()))).collect();
        let program = if name == "shopper" { "storefront" } else { name };
        if program != "issuer" {
            environment.insert("AVOUCH_AUTHZ__POLICY".to_owned(), format!("{deploy}/demo/policy.toml"));
        }
        assert_configured(program, &environment, tempfile::tempdir().unwrap().path());
        tried += 1;
    }
    assert_eq!(tried, SERVICES.len() + 2, "the issuer and the shopper, too");
}

#[test]
fn the_trust_domain_stands_in_one_line_of_each_place() {
    let lines = |file: &str| {
        let text = std::fs::read_to_string(crate::deploy().join(file)).unwrap();
        text.lines().filter(|line| line.contains("market.example")).count()
    };
    for place in [
        &["compose/.env", "compose/compose.yaml", "compose/place/issuer.toml", "compose/place/services.toml"]
            [..],
        &["kubernetes/base/issuer.toml", "kubernetes/base/services.toml", "kubernetes/join.sh"],
        &["demo/issuer.toml", "demo/services.toml"],
    ] {
        assert_eq!(place.iter().map(|file| lines(file)).sum::<usize>(), 1, "{place:?}");
    }
    let programs = SERVICES.into_iter().chain(["issuer"]);
    let base: usize = programs.clone().map(|name| lines(&format!("config/{name}.toml"))).sum();
    let host: usize = programs.map(|name| lines(&format!("systemd/config/{name}.toml"))).sum();
    assert_eq!((base, host + lines("systemd/install")), (0, 1));
}

#[test]
fn every_compose_there_is_reads_the_file() {
    let mut asked = 0;
    for words in [&["docker", "compose"][..], &["docker-compose"]] {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let there = Command::new(words[0]).args(&words[1..]).arg("version").output();
        if !there.is_ok_and(|output| output.status.success()) {
            continue;
        }
        asked += 1;
        let output =
            command.arg("--file").arg(folder().join("compose.yaml")).args(["config", "--quiet"]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{words:?}: {said}");
    }
    if asked == 0 {
        eprintln!(
            "!! SKIPPED: neither `docker compose` nor docker-compose on this machine, the file was not read"
        );
    }
}

#[test]
fn every_container_is_kept_small() {
    let file = compose();
    for (name, service) in services(&file) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["logging"]["driver"], "json-file", "{name}");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name}");
        for bound in ["mem_limit", "pids_limit"] {
            assert!(!service[bound].is_null(), "{name} has no {bound}");
        }
        for power in [
            "privileged",
            "cap_add",
            "devices",
            "pid",
            "ipc",
            "userns_mode",
            "user",
            "cgroup_parent",
            "sysctls",
        ] {
            assert!(service[power].is_null(), "{name} has {power}");
        }
        let image = service["image"].as_str().unwrap();
        assert!(image.starts_with("avouch/") && image.ends_with(":${AVOUCH_TAG:-latest}"), "{name}: {image}");
        for mount in
            strings(&service["volumes"]).into_iter().filter(|mount| mount.starts_with(['.', '/', '~']))
        {
            assert!(mount.ends_with(":ro"), "{name} may write to the host: {mount}");
            assert!(
                ["./place:", "../config:", "../demo:"].iter().any(|from| mount.starts_with(from)),
                "{name}: {mount}"
            );
        }
    }
}

#[test]
fn nothing_is_published_but_the_ingress_on_the_loopback_address() {
    let file = compose();
    let published: Vec<_> = services(&file)
        .into_iter()
        .flat_map(|(name, service)| strings(&service["ports"]).into_iter().map(move |port| (name, port)))
        .collect();
    assert_eq!(published, [("storefront", "127.0.0.1:${AVOUCH_INGRESS_PORT:-7443}:7443")]);
}

#[test]
fn containers_reach_one_another_exactly_where_the_market_calls_and_where_operators_ask() {
    let file = compose();
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in services(&file) {
        let networks = strings(&service["networks"]);
        match name.starts_with("join-") {
            true => {
                assert_eq!((service["network_mode"].as_str(), networks.len()), (Some("none"), 0), "{name}")
            }
            false => assert!(service["network_mode"].is_null() && !networks.is_empty(), "{name}"),
        }
        for network in networks {
            members.entry(network).or_default().insert(name);
        }
    }
    let ordered = |one: &str, other: &str| (one.min(other).to_owned(), one.max(other).to_owned());
    let mut reached: BTreeSet<Pair> = BTreeSet::new();
    for inside in members.values() {
        for one in inside {
            reached.extend(inside.iter().filter(|other| one < *other).map(|other| ordered(one, other)));
        }
    }
    let mut wanted: BTreeSet<Pair> = calls().iter().map(|(from, to)| ordered(from, to)).collect();
    // Everybody calls the issuer; and `avouch`, run in its container, asks every service.
    wanted.extend(SERVICES.iter().chain(&["shopper"]).map(|name| ordered(name, "issuer")));
    assert_eq!(reached, wanted);

    for (name, network) in file["networks"].as_object().unwrap() {
        assert_eq!(network["internal"] == true, name != "front", "{name}");
        assert!(network["external"].is_null(), "{name}");
    }
    assert_eq!(members["front"], BTreeSet::from(["storefront"]));
    let front = &file["networks"]["front"]["driver_opts"];
    assert_eq!(front["com.docker.network.bridge.enable_ip_masquerade"], "false");
}

/// Who mounts a volume, and how.
fn mounts(file: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, service) in services(file) {
        for mount in strings(&service["volumes"]).into_iter().filter(|mount| !mount.starts_with('.')) {
            let parts: Vec<_> = mount.split(':').collect();
            let how = if parts.get(2) == Some(&"ro") { "reads" } else { "writes" };
            found.entry(parts[0].to_owned()).or_default().insert(format!("{name} {how}"));
        }
    }
    found
}

#[test]
fn nobody_but_its_owner_reads_a_store_a_token_or_the_administration_socket() {
    let file = compose();
    let joiners = || SERVICES.iter().chain(&["shopper"]);
    let set = |mounts: &[String]| mounts.iter().cloned().collect::<BTreeSet<_>>();
    let mut wanted = BTreeMap::from([("issuer-data".to_owned(), set(&["issuer writes".to_owned()]))]);
    let mut admin = vec!["issuer writes".to_owned()];
    for name in joiners() {
        wanted.insert(format!("{name}-data"), set(&[format!("{name} writes")]));
        let token = [format!("join-{name} writes"), format!("{name} reads"), "issuer reads".to_owned()];
        wanted.insert(format!("join-{name}"), set(&token));
        admin.push(format!("join-{name} reads"));
    }
    admin.push("join-operator reads".to_owned());
    wanted.insert("admin".to_owned(), set(&admin));
    assert_eq!(mounts(&file), wanted);

    for (name, volume) in file["volumes"].as_object().unwrap() {
        let options = volume["driver_opts"]["o"].as_str().unwrap_or_default();
        let in_memory = volume["driver_opts"]["type"] == "tmpfs";
        assert_eq!(in_memory, name == "admin" || name.starts_with("join-"), "{name}");
        assert_eq!(
            in_memory,
            options.contains("mode=0700,uid=65532,gid=65532,nosuid,nodev,noexec"),
            "{name}"
        );
        assert!(volume["external"].is_null(), "{name}");
    }
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap())
}

#[test]
fn processes_are_checked_drained_and_started_after_what_they_need() {
    let file = compose();
    let calls = calls();
    for (name, service) in services(&file) {
        let depends = |on: &str| service["depends_on"][on]["condition"].as_str();
        let is_process = name == "issuer" || SERVICES.contains(&name);
        if !is_process {
            assert_eq!(service["healthcheck"]["disable"], true, "{name}");
            assert_eq!(service["restart"], "no", "{name}");
            continue;
        }
        assert_eq!(strings(&service["healthcheck"]["test"]), ["CMD", "/entrypoint", "--health"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        let configured = configuration("compose/place", name);
        assert_eq!(configured["health"]["listen"].as_str(), Some("127.0.0.1:8080"), "{name}");
        let drain = seconds(configured["service"]["drain_timeout"].as_str().unwrap());
        assert!(
            seconds(service["stop_grace_period"].as_str().unwrap()) >= drain + Duration::from_secs(5),
            "{name}"
        );
        let own = if name == "issuer" { "issuer.toml" } else { "services.toml" };
        let config = format!("/etc/avouch/config/{name}.toml:/etc/avouch/place/{own}");
        assert_eq!(service["environment"]["AVOUCH_CONFIG"], config.as_str(), "{name}");
        if name != "issuer" {
            assert_eq!(depends(&format!("join-{name}")), Some("service_completed_successfully"));
        }
        for (_, called) in calls.iter().filter(|(caller, _)| caller == name) {
            assert_eq!(depends(called), Some("service_healthy"), "{name} needs {called}");
        }
    }
    for name in SERVICES.iter().chain(&["shopper"]) {
        let join = &file["services"][format!("join-{name}")];
        assert_eq!(join["depends_on"]["issuer"]["condition"], "service_healthy", "{name}");
    }
}

#[test]
fn each_service_tells_the_issuer_its_name_in_its_networks_and_the_port_it_listens_on() {
    let file = compose();
    for (name, service) in services(&file) {
        let told = service["environment"]["AVOUCH_SERVICE__ADDRESS"].as_str();
        if !SERVICES.contains(&name) {
            assert_eq!(told, None, "{name} serves nobody that asks for it by the issuer's list");
            continue;
        }
        let listen = configuration("compose/place", name)["service"]["listen"].as_str().map(str::to_owned);
        let port = listen.as_deref().and_then(|listen| listen.strip_prefix("0.0.0.0:"));
        assert_eq!(told, port.map(|port| format!("{name}:{port}")).as_deref(), "{name}");
    }
}

#[test]
fn the_operator_is_registered_by_a_container_whose_token_ends_with_it() {
    let file = compose();
    let join = &file["services"]["join-operator"];
    assert_eq!(strings(&join["command"]), ["spiffe://${AVOUCH_TRUST_DOMAIN}/operator"]);
    assert_eq!(strings(&join["volumes"]), ["admin:/run/avouch/admin:ro"]);
    let kept = strings(&join["tmpfs"]).into_iter().find_map(|place| place.strip_prefix("/run/avouch/join:"));
    assert_eq!(kept, Some("size=64k,mode=0700,uid=65532,gid=65532"), "its token goes into memory");
    assert_eq!(join["depends_on"]["issuer"]["condition"], "service_healthy");
}

#[test]
fn containers_are_configured_as_the_demo_is() {
    SERVICES.iter().for_each(|name| assert_as_in_the_demo("compose/place", name));
}
