//! What Prometheus is to scrape, and when it is to wake somebody: Prometheus reads it, every alert fires when it should and
//! not before, and asks for series that our processes really have.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::systemd::{ISSUER, Market, SERVICES, configuration};
use avouch_testkit::program::alone;

/// What Prometheus itself adds.
const ADDED: [&str; 4] = ["up", "job", "instance", "workload"];

/// The sections of the page of runbooks.
const RUNBOOKS: [&str; 5] = ["denied", "not-renewing", "rotate", "compromised", "issuer-lost"];

fn folder() -> PathBuf {
    crate::deploy().join("prometheus")
}

fn yaml(file: &str) -> Value {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The rules of all files, in no order.
fn rules() -> Vec<Value> {
    let groups = |file| list(&yaml(file)["groups"]).cloned().collect::<Vec<_>>();
    let groups = ["rules/recording.yml", "rules/alerts.yml"].into_iter().flat_map(groups);
    groups.flat_map(|group| list(&group["rules"]).cloned().collect::<Vec<_>>()).collect()
}

fn promtool(arguments: &[&str]) {
    if !crate::is_installed("promtool") {
        eprintln!("!! SKIPPED: no promtool on this machine, promtool {arguments:?} did not run");
        return;
    }
    let output = Command::new("promtool").args(arguments).current_dir(folder()).output().unwrap();
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn prometheus_reads_its_configuration() {
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn prometheus_reads_the_rules_and_finds_none_twice() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "rules/recording.yml", "rules/alerts.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    promtool(&["test", "rules", "tests/alerts.yml"]);
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let mut cases: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let tests = yaml("tests/alerts.yml");
    for case in list(&tests["tests"]).flat_map(|test| list(&test["alert_rule_test"])) {
        let name = case["alertname"].as_str().unwrap().to_owned();
        cases.entry(name).or_default().insert(list(&case["exp_alerts"]).next().is_some());
    }
    let names = rules().iter().filter_map(|rule| rule["alert"].as_str().map(str::to_owned)).collect();
    let tried: BTreeSet<_> = cases.keys().cloned().collect();
    assert_eq!(tried, names);
    for (name, outcomes) in cases {
        assert_eq!(outcomes.len(), 2, "{name} always or never fires in its tests");
    }
}

#[test]
fn every_alert_says_what_it_means_how_bad_it_is_and_what_shows_more() {
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = &rule["alert"];
        for annotation in ["summary", "description", "command"] {
            assert!(rule["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name} is {severity}");
        let Some(runbook) = rule["annotations"]["runbook"].as_str() else { continue };
        let section = runbook.strip_prefix("docs/operations/runbooks.md#").unwrap_or_default();
        assert!(RUNBOOKS.contains(&section), "{name}: {runbook}");
    }
}

#[test]
fn every_avouch_command_of_an_alert_is_one_that_avouch_takes() {
    let program = crate::host::built().join("avouch");
    let mut asked = 0;
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let commands = rule["annotations"]["command"].as_str().unwrap().split(';').map(str::trim);
        for words in commands.filter_map(|command| command.strip_prefix("avouch ")) {
            asked += 1;
            let temp = tempfile::tempdir().unwrap();
            let mut command = alone(&program, temp.path());
            let output = command.args(words.split_whitespace()).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: avouch {words}: {said}", rule["alert"]);
        }
    }
    assert!(asked >= 8, "only {asked} commands were asked");
}

#[test]
fn what_is_scraped_is_where_the_units_answer() {
    let config = yaml("prometheus.yml");
    let job = &config["scrape_configs"][0];
    assert_eq!(job["job_name"], "avouch");
    let scraped: BTreeMap<_, _> = list(&job["static_configs"])
        .map(|target| {
            (target["labels"]["workload"].as_str().unwrap(), target["targets"][0].as_str().unwrap())
        })
        .collect();
    let services = std::iter::once("issuer").chain(SERVICES);
    let answering: Vec<_> = services
        .map(|name| {
            let config = configuration(name);
            (name, config["health"]["listen"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(scraped, answering.iter().map(|(name, address)| (*name, address.as_str())).collect());
}

/// The series an expression asks for, each with the labels it names.
fn asked(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut asked = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        rest = &rest[end..];
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let (selectors, after) = inner.split_once('}').unwrap();
            labels =
                selectors.split(',').map(|one| one.split(['=', '!']).next().unwrap().to_owned()).collect();
            rest = after;
        }
        if ["avouch", "rpc_", "process_", "up"].iter().any(|prefix| name.starts_with(prefix)) {
            asked.push((name.to_owned(), labels));
        }
    }
    asked
}

#[test]
fn an_expressions_series_are_found_with_their_labels() {
    let found = asked(
        "sum by (job) (rate(avouch_a_total{job=\"avouch\",x!=\"1\"}[5m])) / up{job=\"a\"} - time() > avouch:b",
    );
    let expected = [("avouch_a_total", vec!["job", "x"]), ("up", vec!["job"]), ("avouch:b", vec![])];
    let owned = |(name, labels): (&str, Vec<&str>)| {
        (name.to_owned(), labels.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(found, expected.map(owned));
}

/// The series of a page, each with all labels it has.
fn shown(page: &str, series: &mut BTreeMap<String, BTreeSet<String>>) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
        let names = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        series.entry(name.to_owned()).or_default().extend(names);
    }
}

#[test]
fn every_rule_asks_for_series_that_processes_have() {
    let market = Market::start(&["ledger"]);
    // A token that has been used with another key: the issuer refuses and counts it.
    let (used, other) = (market.host.token("reports"), market.host.path("/etc/avouch/tokens/orders"));
    let [reports, orders] = ["reports", "orders"].map(crate::systemd::unit_of);
    assert_eq!(market.host.start(&reports, &market.sockets[&reports]).stop(), Some(0));
    std::fs::rename(used, other).unwrap();
    let mut refused = market.host.spawn(&orders, &market.sockets[&orders]);
    assert_eq!(refused.end(), Some(1), "{}", refused.log());

    let mut series = BTreeMap::new();
    shown(&market.services[ISSUER].page("/metrics"), &mut series);
    shown(&market.service("ledger").page("/metrics"), &mut series);
    for rule in rules() {
        if let Some(name) = rule["record"].as_str() {
            // What it is recorded from is asked for by the rule itself.
            let from = asked(rule["expr"].as_str().unwrap());
            let labels = from.iter().filter_map(|(name, _)| series.get(name)).flatten().cloned().collect();
            series.insert(name.to_owned(), labels);
        }
    }
    let mut names = 0;
    for rule in rules() {
        let rule_name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        for (name, labels) in asked(rule["expr"].as_str().unwrap()) {
            names += 1;
            if ADDED.contains(&&*name) {
                continue;
            }
            let known =
                series.get(&name).unwrap_or_else(|| panic!("{rule_name}: no process has {name}: {series:?}"));
            for label in labels.iter().filter(|label| !ADDED.contains(&&***label)) {
                assert!(known.contains(label), "{rule_name}: {name} has no label {label}");
            }
        }
    }
    assert!(names > 25, "only {names} series were found in the rules");
    let page = market.service("ledger").page("/metrics") + &market.services[ISSUER].page("/metrics");
    assert!(!page.contains("spiffe://"), "an identity is a label in\n{page}");
}

#[test]
fn a_service_shows_when_its_issuer_is_away_and_when_it_is_back() {
    let mut market = Market::start(&["ledger"]);
    let up = "avouch_trust_stream_up ";
    market.service("ledger").counts(up);
    assert_eq!(market.services.remove(ISSUER).unwrap().stop(), Some(0));
    market.service("ledger").shows(up, |value| value < 1.0);
    let _issuer = market.host.start(ISSUER, &market.sockets[ISSUER]);
    market.service("ledger").counts(up);
}
