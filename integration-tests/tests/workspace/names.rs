//! Names that were given up for better ones do not come back.

use std::path::{Path, PathBuf};

use crate::root;

/// Where it stood, what it was called, what to say. Below that path there is no file of that name if it is one, or
/// nothing that is defined under it, or with a colon behind it no field.
type Row = (&'static str, &'static str, &'static str);

const GONE: &[Row] = &[
    ("crates/authz", "InForce", "ActivePolicy"),
    ("crates/authz", "Unmet", "UnmetCondition"),
    ("crates/authz", "classes.rs", "caller_class.rs"),
    ("crates/authz", "refusal.rs", "denied_call.rs"),
    ("crates/authz", "settled.rs", "stability.rs"),
    ("crates/authz", "standing.rs", "grants.rs"),
    ("crates/authz/src/decide.rs", "Standing", "CallerKind"),
    ("crates/authz/src/handle", "Standing", "FileState"),
    ("crates/authz/src/handle", "settled.rs", "stability.rs"),
    ("crates/authz/src/layer", "Refusal", "DeniedCall"),
    ("crates/authz/src/policy", "Nearest", "NearestBinding"),
    ("crates/authz/src/policy", "Place", "SourceLocation"),
    ("crates/authz/src/policy", "Standing", "Grants"),
    ("crates/build", "Place", "SourceLocation"),
    ("crates/build", "place.rs", "source_location.rs"),
    ("crates/cli", "Who", "NamedCaller"),
    ("crates/cli", "ending.rs", "outcome.rs"),
    ("crates/cli", "gather", "collect"),
    ("crates/cli", "timespan.rs", "avouch_time::timestamp"),
    ("crates/cli/src/checks", "Outcome", "CheckResult"),
    ("crates/cli/src/commands", "Place", "Replica"),
    ("crates/cli/src/convert", "Entry", "ArchivedCertificate"),
    ("crates/cli/src/explain", "Facts", "RecordedCertificate"),
    ("crates/cli/src/explain", "What", "ExplainTarget"),
    ("crates/cli/src/explain", "subject.rs", "target.rs"),
    ("crates/cli/src/handshake", "Place", "AddressOutcome"),
    ("crates/cli/src/lint", "Place", "CertificateRef"),
    ("crates/cli/src/lint", "Sheet", "LintedFile"),
    ("crates/cli/src/lint", "many.rs", "chain.rs"),
    ("crates/cli/src/lint", "one.rs", "certificate.rs"),
    ("crates/demo", "Onslaught", "AttackRun"),
    ("crates/demo", "Place", "Paths"),
    ("crates/demo", "gather.rs", "collect.rs"),
    ("crates/demo", "onslaught.rs", "attack_run.rs"),
    ("crates/demo", "place.rs", "paths.rs"),
    ("crates/demo", "soak.rs", "integration-tests/src/soak.rs"),
    ("crates/files", "Place", "IfExists"),
    ("crates/fleet", "Certificate", "IssuedCertificate"),
    ("crates/fleet", "Entry", "RegisteredEntry"),
    ("crates/fleet", "PATIENCE", "TIMEOUT"),
    ("crates/fleet", "What", "Recorded"),
    ("crates/identity", "Agreed", "NegotiatedTls"),
    ("crates/identity", "Approach", "ConnectParameters"),
    ("crates/identity", "Circumstances", "ConnectAttempt"),
    ("crates/identity", "Climb", "SignedPrefix"),
    ("crates/identity", "Conduct", "AbuseGuard"),
    ("crates/identity", "Ending", "ConnectionShutdown"),
    ("crates/identity", "Entry", "AcceptedSocket"),
    ("crates/identity", "Fair", "FairLimiter"),
    ("crates/identity", "FirstWord", "FirstFrame"),
    ("crates/identity", "Guarded", "ConnectionService"),
    ("crates/identity", "Inlet", "LimitedStream"),
    ("crates/identity", "Judge", "ChainVerifier"),
    ("crates/identity", "Life", "Driver"),
    ("crates/identity", "LifeSpan", "Lifetime"),
    ("crates/identity", "Link", "Http2Connection"),
    ("crates/identity", "Manner", "TlsOptions"),
    ("crates/identity", "Meeting", "ServerCheck"),
    ("crates/identity", "Rewind", "PrefixedIo"),
    ("crates/identity", "Seat", "Slot"),
    ("crates/identity", "SingleUse", "SingleConnection"),
    ("crates/identity", "Surroundings", "SourceContext"),
    ("crates/identity", "TlsOffer", "TlsParameters"),
    ("crates/identity", "Unsent", "SendBacklog"),
    ("crates/identity", "Walk", "PresentedChain"),
    ("crates/identity", "Whose", "ExpectedIdentity"),
    ("crates/identity", "adapter.rs", "rustls_verifier.rs"),
    ("crates/identity", "candidate.rs", "extra_checks.rs"),
    ("crates/identity", "circumstances.rs", "attempt.rs"),
    ("crates/identity", "conduct.rs", "abuse.rs"),
    ("crates/identity", "ending.rs", "connection_shutdown.rs"),
    ("crates/identity", "fair.rs", "fair_limiter.rs"),
    ("crates/identity", "fresh.rs", "renewal.rs"),
    ("crates/identity", "guard.rs", "request.rs"),
    ("crates/identity", "inlet.rs", "limited_stream.rs"),
    ("crates/identity", "issuer_clock.rs", "clock_skew.rs"),
    ("crates/identity", "keep_fresh", "run_renewal"),
    ("crates/identity", "keeper.rs", "reconnect.rs"),
    ("crates/identity", "link.rs", "http2_connection.rs"),
    ("crates/identity", "max_abandoned_calls:", "max_cancelled_calls"),
    ("crates/identity", "rewind.rs", "prefixed_io.rs"),
    ("crates/identity", "schedule.rs", "renewal_schedule.rs"),
    ("crates/identity", "shown_out", "evicted"),
    ("crates/identity", "single.rs", "single_connection.rs"),
    ("crates/identity", "slot.rs", "extensions.rs"),
    ("crates/identity", "snapshot.rs", "identity.rs"),
    ("crates/identity", "turned_away.rs", "overload_response.rs"),
    ("crates/identity", "unsent.rs", "send_backlog.rs"),
    ("crates/identity/src", "patience", "timeout"),
    ("crates/identity/src/server", "Place", "ConnectionShare"),
    ("crates/identity/src/verify", "path.rs", "chain_verifier.rs"),
    ("crates/issuance", "duration.rs", "avouch_time::ConfigDuration"),
    ("crates/issuer", "About", "StatusReporter"),
    ("crates/issuer", "Granted", "Grant"),
    ("crates/issuer", "IssuanceFilter", "CertificateFilter"),
    ("crates/issuer", "Issuing", "Issuance"),
    ("crates/issuer", "OwnError", "SelfIssueError"),
    ("crates/issuer", "Right", "Entitlement"),
    ("crates/issuer", "duration.rs", "avouch_time::ConfigDuration"),
    ("crates/issuer", "issuing.rs", "issuance.rs"),
    ("crates/issuer", "jobs.rs", "queries.rs"),
    ("crates/issuer", "may_have_lost", "in_recovery_gap"),
    ("crates/issuer", "note_start", "record_startup"),
    ("crates/issuer", "own.rs", "self_issue.rs"),
    ("crates/issuer", "was_lost", "issued_in_gap"),
    ("crates/issuer", "worker.rs", "avouch_sqlite"),
    ("crates/issuer/src", "about.rs", "status.rs"),
    ("crates/limits", "Throttle", "RateLimiter"),
    ("crates/market", "patience", "timeout"),
    ("crates/market/orders", "Desk", "Orders"),
    ("crates/market/orders", "Trouble", "TransientError"),
    ("crates/market/orders", "desk.rs", "orders.rs"),
    ("crates/market/orders", "partners.rs", "clients.rs"),
    ("crates/market/payments", "Book", "LedgerClient"),
    ("crates/market/payments", "Till", "Payments"),
    ("crates/market/payments", "till.rs", "payments.rs"),
    ("crates/market/reports", "Standing", "FollowerStatus"),
    ("crates/market/reports", "Sums", "Totals"),
    ("crates/market/reports", "follow.rs", "follower.rs"),
    ("crates/market/reports", "sums.rs", "totals.rs"),
    ("crates/market/storefront", "OrderDesk", "OrdersClient"),
    ("crates/market/storefront", "desk.rs", "orders_client.rs"),
    ("crates/market/storefront", "lines.rs", "order_reader.rs"),
    ("crates/records", "CallsOf", "CallerCounters"),
    ("crates/records", "Ring", "FairBuffer"),
    ("crates/records", "calls.rs", "call_counters.rs"),
    ("crates/records", "line.rs", "json_line.rs"),
    ("crates/records", "ring.rs", "fair_buffer.rs"),
    ("crates/records", "text.rs", "timestamp.rs"),
    ("crates/service", "Launch", "LaunchOptions"),
    ("crates/service", "Life", "Lifecycle"),
    ("crates/service", "News", "LatestEvents"),
    ("crates/service", "Parts", "AppParts"),
    ("crates/service", "Period", "ConfigDuration"),
    ("crates/service", "launch.rs", "launch_options.rs"),
    ("crates/service", "manager.rs", "systemd.rs"),
    ("crates/service", "max_abandoned_calls:", "max_cancelled_calls"),
    ("crates/service", "period.rs", "avouch_time::ConfigDuration"),
    ("crates/service", "phase.rs", "lifecycle.rs"),
    ("crates/service/src", "activation.rs", "socket_activation.rs"),
    ("crates/service/src/config/sections.rs", "federated:", "admit_federated"),
    ("crates/service/src/health", "Entry", "AcceptedSocket"),
    ("crates/service/src/status.rs", "Facts", "ProcessStatus"),
    ("crates/spiffe", "Facts", "CertificateInfo"),
    ("crates/spiffe", "clock.rs", "avouch_time::clock"),
    ("crates/spiffe", "facts.rs", "certificate_info.rs"),
    ("crates/spiffe", "hex.rs", "avouch_text::hex"),
    ("crates/spiffe", "is_plain", "is_printable"),
    ("crates/spiffe", "network.rs", "avouch_limits"),
    ("crates/spiffe", "plain.rs", "printable.rs"),
    ("crates/spiffe", "span.rs", "duration.rs"),
    ("crates/spiffe", "throttle.rs", "avouch_limits"),
    ("integration-tests/src", "Storm", "KillStorm"),
    ("integration-tests/src", "Vitals", "Memory"),
    ("integration-tests/src", "storm.rs", "kill_storm.rs"),
    ("integration-tests/src", "vitals.rs", "memory.rs"),
    ("integration-tests/src", "storm.rs", "kill_storm.rs"),
    ("integration-tests/src", "vitals.rs", "memory.rs"),
];

/// Rows that are still to be carried out. One that is has to move up to [`GONE`].
const NOT_YET: &[Row] = &[];

/// The files below a path, or the file that it is. What is not there is empty.
fn files(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flat_map(|entry| files(&entry.unwrap().path())).collect(),
        Err(_) if path.is_file() => vec![path.to_owned()],
        Err(_) => Vec::new(),
    }
}

fn is_there((place, name, _): &Row) -> bool {
    files(&root().join(place)).iter().any(|file| {
        if name.ends_with(".rs") {
            return file.file_name().is_some_and(|found| found == *name);
        }
        file.extension().is_some_and(|ending| ending == "rs")
            && std::fs::read_to_string(file).unwrap().lines().any(|line| defines(line.trim(), name))
    })
}

fn defines(line: &str, name: &str) -> bool {
    let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if name.ends_with(':') {
        let field = words.iter().position(|word| *word == name);
        return field
            .is_some_and(|at| words[..at].iter().all(|word| ["pub", "crate", "super"].contains(word)));
    }
    words.windows(2).any(|pair| {
        ["struct", "enum", "trait", "type", "fn", "const", "static", "mod"].contains(&pair[0])
            && pair[1].trim_end_matches(':') == name
            && !line.starts_with("//")
    })
}

#[test]
fn no_name_that_was_given_up_comes_back() {
    let back: Vec<_> = GONE.iter().filter(|row| is_there(row)).collect();
    assert!(back.is_empty(), "these have other names now: {back:#?}");
    let done: Vec<_> = NOT_YET.iter().filter(|row| !is_there(row)).collect();
    assert!(done.is_empty(), "these are carried out, move them to GONE: {done:#?}");
}

#[test]
fn each_row_names_a_place_that_exists() {
    for (place, name, _) in GONE.iter().chain(NOT_YET) {
        let crates = place.split('/').take(if place.starts_with("crates/market") { 3 } else { 2 });
        let path: PathBuf = crates.collect();
        assert!(root().join(path).is_dir(), "{place}: {name}");
    }
}

#[test]
fn a_definition_is_told_from_a_use() {
    assert!(defines("pub(crate) struct Seat<K: Key> {", "Seat"));
    assert!(defines("pub async fn shown_out(&self) {", "shown_out"));
    assert!(defines("const OLD: u32 = 1;", "OLD"));
    assert!(!defines("fn f(seat: Seat) -> Seat {", "Seat"));
    assert!(!defines("/// The struct Seat was a type", "Seat"));
    assert!(defines("pub max_calls: u32,", "max_calls:"));
    assert!(!defines("let calls = Options { max_calls: 3 };", "max_calls:"));
}
