//! What ordinary clients see of a refusal, beside what the server has on record: the table of `docs/status-codes.md`,
//! column by column, against the clients themselves.
//!
//! tonic is this workspace's, with its own TLS. grpcio and curl are whatever this machine has; a column whose client is
//! not there is not looked at, and the test says so. `AVOUCH_GRPCIO_PYTHON` names a Python that has grpcio.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests, outside of any test function"
)]

mod clients;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clients::{Client, Files};
use server::{Served, Shown};

/// How often a client tries: what it makes of a refusal is not always the same.
const TIMES: usize = 10;

/// One row: what the client does, and the reason that the server records.
struct Row {
    situation: &'static str,
    reason: &'static str,
    shown: Shown,
    /// Of TLS.
    version: Option<&'static str>,
    method: &'static str,
}

const GUARDED: &str = "/avouch.observe.v1.Observe/GetStatus";

const fn row(situation: &'static str, reason: &'static str, shown: Shown) -> Row {
    Row { situation, reason, shown, version: None, method: GUARDED }
}

const ROWS: &[Row] = &[
    row("shows no certificate", "CLIENT_CERT_MISSING", Shown::Nothing),
    row("shows a certificate of another CA", "CERT_UNTRUSTED", Shown::Untrusted),
    row("shows one that has expired", "CERT_EXPIRED", Shown::Expired),
    row("shows one of a foreign trust domain", "TRUST_DOMAIN_UNKNOWN", Shown::Foreign),
    row("shows one that is no X.509-SVID", "SVID_INVALID", Shown::NoSvid),
    row("speaks plaintext", "NOT_TLS", Shown::Plaintext),
    Row {
        version: Some("1.2"),
        ..row("speaks TLS 1.2 at most", "PROTOCOL_VERSION_UNSUPPORTED", Shown::Good)
    },
    row("calls without the role", "ROLE_MISSING", Shown::Good),
    Row {
        method: "/nothing.v1.Nothing/Nothing",
        ..row("calls what is not there", "NO_ALLOW_RULE", Shown::Good)
    },
];

/// The written table: situation → cells by column.
fn written() -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/status-codes.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## What other clients see\n").expect("the section");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let mut lines = table.take_while(|line| line.starts_with('|'));
    let header = cells(lines.next().expect("a header"));
    let rows = lines.skip(1).map(cells).map(|cells| (cells[0].clone(), cells[1..].to_vec())).collect();
    (header, rows)
}

/// What the client sees in one situation; nothing where it cannot do that.
async fn seen(client: &Client, row: &Row, files: &Files) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    if row.version.is_some() && !client.can_choose_its_version() {
        return seen;
    }
    for _ in 0..TIMES {
        let served = Served::new(files).await;
        seen.insert(client.call(&served, row.shown, row.version, row.method, files).await);
        served.on_record(row.reason).await;
    }
    seen
}

async fn check(client: Client) {
    let Some(name) = client.version() else {
        eprintln!(
            "SKIPPED: {client:?} is not on this machine; its column of docs/status-codes.md was not looked at"
        );
        return;
    };
    let files = Files::new();
    let (header, table) = written();
    let column = header.iter().position(|cell| cell.starts_with(client.name())).expect("a column");
    let as_written = name.starts_with(&format!("{}.", header[column]));
    if !as_written {
        eprintln!("NOT COMPARED: the page was written with {}, and here is {name}", header[column]);
    }
    let mut wrong = Vec::new();
    for row in ROWS {
        let written = table.get(row.situation).and_then(|cells| cells.get(column - 1));
        let known: BTreeSet<String> = match written.map(String::as_str) {
            None => BTreeSet::new(),
            Some("–") => BTreeSet::new(),
            Some(cell) => cell.split(" or ").map(str::to_owned).collect(),
        };
        let reasons = table.get(row.situation).map(|cells| cells[0].clone()).unwrap_or_default();
        let seen = seen(&client, row, &files).await;
        let differs = !seen.is_subset(&known) || seen.is_empty() != known.is_empty();
        if reasons != row.reason || (as_written && differs) {
            let seen: Vec<_> = seen.into_iter().collect();
            wrong.push(format!("| {} | {} | {} |", row.situation, row.reason, seen.join(" or ")));
        }
    }
    assert!(wrong.is_empty(), "{name} sees, and docs/status-codes.md says otherwise:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_sees_what_the_page_says() {
    check(Client::Tonic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_sees_what_the_page_says() {
    check(Client::Grpcio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_what_the_page_says() {
    check(Client::Curl).await;
}

#[test]
fn the_table_has_the_rows_that_are_tried_and_no_other() {
    let (_, table) = written();
    let tried: BTreeSet<&str> = ROWS.iter().map(|row| row.situation).collect();
    assert_eq!(table.keys().map(String::as_str).collect::<BTreeSet<_>>(), tried);
}
