//! Revoking, watching who refuses it, and what is on record of it: the stand-in's answers, and what a shell sees of them.

use super::{HOSTILE, ORDERS, POISON, avouch, stderr, stdout, with_issuer};
use avouch_api::admin::v1::*;
use avouch_testkit::program::alone;
use avouch_time::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

const ISSUER: &str = "spiffe://market.example/avouch/issuer";
/// The generation of revoked serial numbers, which everybody acknowledges; of identities somebody always does not.
const EVERYBODY: u32 = 13;

pub(super) type Acknowledgements =
    std::pin::Pin<Box<dyn Stream<Item = Result<WatchAcknowledgementsResponse, Status>> + Send>>;

/// When everything was done.
fn made() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn revocation(subject: &str, reason: &str) -> Revocation {
    let is_serial = subject.starts_with("serial:");
    Revocation {
        id: 7,
        subject: subject.to_owned(),
        spiffe_id: if is_serial { ORDERS.to_owned() } else { subject.to_owned() },
        reason: reason.to_owned(),
        actor: "uid 1000".to_owned(),
        created_at: Some(made().into()),
        epoch: 1_800_000_000,
        counter: if is_serial { EVERYBODY } else { 12 },
        serials: vec!["0a1b".to_owned()],
        ..Revocation::default()
    }
}

pub(super) fn revoke(request: RevokeRequest) -> Result<RevokeResponse, Status> {
    match request.subject.as_str() {
        ISSUER if !request.force => {
            return Err(Status::failed_precondition("it is the issuer's own identity"));
        }
        ORDERS | ISSUER | HOSTILE | "serial:0a1b" => {}
        other => return Err(Status::not_found(format!("{other} is not on record"))),
    }
    let poison = request.subject == HOSTILE;
    let mut revocation = revocation(&request.subject, &request.reason);
    if request.dry_run {
        (revocation.id, revocation.counter) = (0, 0);
    }
    if poison {
        (revocation.actor, revocation.reason) = (POISON.to_owned(), POISON.to_owned());
    }
    let certificate = |serial: &str| Certificate {
        serial: serial.to_owned(),
        spiffe_id: ORDERS.to_owned(),
        not_after: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(9_000_000_000)).into()),
        origin: if poison { POISON.to_owned() } else { "renew".to_owned() },
        parent: "0a1a".to_owned(),
        ..Certificate::default()
    };
    let forked = if request.subject == "serial:0a1b" { vec![certificate("0a1a")] } else { Vec::new() };
    Ok(RevokeResponse {
        revocation: Some(revocation),
        certificates: vec![certificate("0a1b")],
        forked,
        live_identities: 12,
        hit_identities: 1,
    })
}

fn process(name: &str, address: &str, state: &str, after: Option<u64>) -> Acknowledgement {
    Acknowledgement {
        spiffe_id: format!("spiffe://market.example/{name}"),
        serial: format!("5e{name}"),
        addresses: if address.is_empty() { Vec::new() } else { vec![address.to_owned()] },
        at: after.map(|millis| (made() + Duration::from_millis(millis)).into()),
        // Far enough that its rounding does not depend on how long the test takes.
        not_after: Some((SystemClock.now() + Duration::from_secs(48 * 3_600 + 1_800)).into()),
        state: state.to_owned(),
        connections_ended: 0,
    }
}

pub(super) fn acknowledgements(request: &WatchAcknowledgementsRequest) -> Acknowledgements {
    let ledger = process("ledger", "10.0.0.1:7001", "connected", Some(8));
    let payments = |after| process("payments", "10.0.0.2:7001", "connected", after);
    let missing = if request.counter == EVERYBODY {
        Vec::new()
    } else {
        vec![process("inventory", "10.0.0.7:7001", "away", None), process("reports", "", "too old", None)]
    };
    let complete = missing.is_empty();
    let first = WatchAcknowledgementsResponse {
        acknowledged: vec![ledger],
        waiting: [vec![payments(None)], missing.clone()].concat(),
        complete: false,
    };
    let second =
        WatchAcknowledgementsResponse { acknowledged: vec![payments(Some(41))], waiting: missing, complete };
    // An issuer goes on for as long as somebody is missing.
    let messages = tokio_stream::iter([Ok(first), Ok(second)]);
    if complete { Box::pin(messages) } else { Box::pin(messages.chain(tokio_stream::pending())) }
}

pub(super) fn undo_revocation(request: UndoRevocationRequest) -> Result<UndoRevocationResponse, Status> {
    if request.id != 7 {
        return Err(Status::not_found(format!("there is no revocation {}", request.id)));
    }
    let undone = Revocation {
        undone_at: Some(made().into()),
        undone_by: "uid 0".to_owned(),
        ..revocation(ORDERS, "laptop stolen")
    };
    Ok(UndoRevocationResponse { revocation: Some(undone) })
}

pub(super) fn list_revocations(request: ListRevocationsRequest) -> Result<ListRevocationsResponse, Status> {
    let revocations = match request.about.as_str() {
        HOSTILE => vec![revocation(HOSTILE, POISON)],
        "" if request.include_ended => {
            vec![revocation("serial:0a1b", ""), revocation(ORDERS, "laptop stolen")]
        }
        "" | ORDERS => vec![revocation(ORDERS, "laptop stolen")],
        _ => Vec::new(),
    };
    let lost_changes = if request.include_ended { 2 } else { 0 };
    Ok(ListRevocationsResponse { revocations, next_page_token: String::new(), lost_changes })
}

pub(super) fn list_audit(request: ListAuditRequest) -> Result<ListAuditResponse, Status> {
    let act = |id, act: &str, after: &str| AuditRecord {
        id,
        at: Some((made() + Duration::from_secs(u64::try_from(id).unwrap())).into()),
        actor: "uid 1000".to_owned(),
        act: act.to_owned(),
        subject: ORDERS.to_owned(),
        after: after.to_owned(),
        reason: if id == 2 { "laptop stolen".to_owned() } else { String::new() },
        ..AuditRecord::default()
    };
    let all = [act(2, "revocation.create", ""), act(1, "entry.create", r#"{"svid_ttl":20}"#)];
    let from = request.since.map(|since| since.seconds).unwrap_or_default();
    let records = all.into_iter().filter(|one| one.at.is_some_and(|at| at.seconds >= from)).collect();
    Ok(ListAuditResponse { records, next_page_token: String::new() })
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn revoking_reports_what_it_hits_and_everybody_who_refuses_it() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["revoke", "serial:0A:1B", "--reason", "laptop stolen"]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        for line in [
            "revoked serial:0a1b: revocation 7 by uid 1000, generation 1800000000.13\n",
            "  hits 1 live certificate; 1 of 12 live identities lose every certificate\n",
            "    0a1b  spiffe://market.example/orders  (renew, ends in ",
            "  and alone, since a fork has shown that the key is copied:\n    0a1a  ",
            "  1 of 2 refuse it: spiffe://market.example/ledger after 8 ms\n",
            "2 of 2 processes refuse it (p50 8 ms, p99 41 ms, max 41 ms after the revocation was durable)\n",
            "accepted since: not known, nobody could be asked\n",
            "take it back with `avouch revoke --undo 7`\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_has_not_answered_in_time_is_named_with_until_when_that_matters() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["revoke", ORDERS, "--timeout", "300ms"]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        for line in [
            "2 of 4 processes refuse it (p50 8 ms, p99 41 ms, ",
            "    spiffe://market.example/inventory at 10.0.0.7:7001 has not answered: at most 2d, its certificate ends then\n",
            "    spiffe://market.example/reports (certificate 5ereports) is of an older version, which knows no revocations: at most 2d",
            "see who is behind with `avouch check --only AV-304`\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_watches_nobody() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["revoke", ORDERS, "--dry-run"]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            text.starts_with("would revoke spiffe://market.example/orders; nothing was changed\n"),
            "{text}"
        );
        assert!(text.contains("  hits 1 live certificate;") && !text.contains("refuse it"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn programs_read_one_event_on_each_line() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["revoke", ORDERS, "--timeout", "300ms", "--json"]);
        let events = events(&stdout(&output));
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["revoked", "acknowledged", "acknowledged", "summary", "blast_radius", "connections", "done"]
        );
        assert_eq!(events[0]["revocation"]["id"], 7);
        assert_eq!(events[0]["certificates"][0]["parent"], "0a1a");
        assert_eq!(events[2]["processes"][0]["after_millis"], 41);
        let summary = &events[3];
        assert_eq!(summary["latency"], json!({ "p50_millis": 8, "p99_millis": 41, "max_millis": 41 }));
        assert_eq!((&summary["total"], &summary["complete"]), (&json!(4), &json!(false)));
        assert_eq!(summary["missing"][1]["state"], "too old");
        assert_eq!(events[6]["complete"], false);
    })
    .await;
}

#[tokio::test]
async fn what_the_issuer_refuses_is_said_with_what_to_do() {
    with_issuer(|socket| {
        for (words, parts) in [
            (&["revoke", ISSUER][..], &["it is the issuer's own identity", "--dry-run", "--force"][..]),
            (&["revoke", "spiffe://market.example/nobody"], &["is not on record", "`avouch entry list`"]),
            (&["revoke", "serial:ff"], &["is not on record", "`avouch cert list --all`"]),
            (&["revoke", "--undo", "8"], &["there is no revocation 8", "`avouch revocations --all`"]),
        ] {
            let output = avouch(Some(socket), words);
            assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{words:?}");
            for part in parts {
                assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
            }
        }
        let output = avouch(Some(socket), &["revoke", ISSUER, "--force", "--timeout", "100ms"]);
        assert!(stdout(&output).starts_with("revoked spiffe://market.example/avouch/issuer"), "{output:?}");
    })
    .await;
}

#[test]
fn a_subject_or_a_reason_that_cannot_be_meant_is_wrong_usage_and_nothing_is_asked() {
    let long = "x".repeat(501);
    for (words, part) in [
        (&["revoke", "0A1B"][..], "did you mean serial:0a1b?"),
        (&["revoke", "market.example/orders"], "did you mean spiffe://market.example/orders?"),
        (&["revoke", ORDERS, "--reason", "a\u{1b}[2Jb"], "not printable"),
        (&["revoke", ORDERS, "--reason", &long], "at most 500"),
        (&["revoke", "serial:0a1b", "--for", "1h"], "--for is for identities"),
    ] {
        let output = avouch(None, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let text = stderr(&output);
        assert!(text.contains(part) && !text.contains('\u{1b}'), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_interrupt_leaves_the_revocation_and_says_so() {
    with_issuer(|socket| {
        let temp = tempfile::tempdir().unwrap();
        let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
        command.env("AVOUCH_ADMIN_SOCKET", socket).args(["revoke", ORDERS, "--timeout", "60s"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // By then it watches, so that the signal is its own.
        while !line.contains("2 of 4 refuse it") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "interrupted: the revocation stands; take it back with `avouch revoke --undo 7`\n");
        assert_eq!(child.wait().unwrap().code(), Some(1));
    })
    .await;
}

#[tokio::test]
async fn revocations_are_listed_and_undone() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["revocations"]);
        let text = stdout(&output);
        assert!(
            text.starts_with("ID  SUBJECT ") && text.contains("7   spiffe://market.example/orders"),
            "{text}"
        );
        assert!(text.contains("uid 1000  when it is undone  laptop stolen"), "{text}");
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));

        let output = avouch(Some(socket), &["revocations", "--all", "--json"]);
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&value["revocations"][1]["id"], &value["lost_changes"]), (&json!(7), &json!(2)));
        assert_eq!(value["revocations"][1]["created_at"], "2027-01-15T08:00:00Z");
        assert!(stderr(&output).contains("`avouch explain AV-309`"), "{}", stderr(&output));

        let output = avouch(Some(socket), &["revoke", "--undo", "7", "--reason", "mistaken"]);
        let said = (output.status.code(), stdout(&output), stderr(&output));
        assert_eq!(said, (Some(0), String::new(), String::new()));
        let output = avouch(Some(socket), &["revoke", "--undo", "7", "--json"]);
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(value["undone_by"], "uid 0");
    })
    .await;
}

#[tokio::test]
async fn what_was_done_is_listed_as_it_happened() {
    with_issuer(|socket| {
        let output = avouch(Some(socket), &["audit"]);
        let text = stdout(&output);
        let acts: Vec<_> = text.lines().skip(1).map(|line| line.split("  ").nth(2).unwrap()).collect();
        assert_eq!(acts, ["entry.create", "revocation.create"], "{text}");
        let output = avouch(Some(socket), &["audit", "--since", "2027-01-15T08:00:02Z"]);
        assert_eq!(stdout(&output).lines().count(), 2, "{output:?}");
        let output = avouch(Some(socket), &["audit", "--json"]);
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&value[0]["before"], &value[0]["after"]["svid_ttl"]), (&Value::Null, &json!(20)));
    })
    .await;
}

#[tokio::test]
async fn nothing_that_is_on_record_of_a_revocation_steers_a_terminal() {
    fn look(socket: &Path, words: &[&str]) {
        let output = avouch(Some(socket), words);
        let text = stdout(&output) + &String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("spoofed"), "{words:?}: {text}");
        assert!(text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{words:?}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("spoofed")), "{words:?}: {text}");
    }
    with_issuer(|socket| {
        for json in [&[][..], &["--json"]] {
            look(socket, &[&["revoke", HOSTILE, "--timeout", "100ms"][..], json].concat());
            look(socket, &[&["revocations", HOSTILE][..], json].concat());
        }
    })
    .await;
}
