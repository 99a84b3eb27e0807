//! What people and programs read of each kind of refusal, and what nobody may make them read.

use super::*;
use crate::sample::*;
use avouch_api::observe::v1::*;
use avouch_fleet::{IssuedCertificate, RevocationRecord};
use avouch_spiffe::Reason;

const DENIED: &str = "d-0011223344556677";
const REFUSED: &str = "conn-0011223344556677";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn decision(id: &str, reason: &str) -> Decision {
    Decision {
        id: id.to_owned(),
        time: "2026-11-25T11:56:00.250Z".to_owned(),
        connection_id: "conn-00000000000000aa".to_owned(),
        trace_id: TRACE.to_owned(),
        peer: REPORTS.to_owned(),
        method: POST.to_owned(),
        verdict: "refused".to_owned(),
        reason: reason.to_owned(),
        need: vec!["ledger-writer".to_owned()],
        have: vec!["ledger-reader".to_owned()],
        rule: "roles: [ledger-writer]".to_owned(),
        place: "/etc/avouch/policy.toml:3".to_owned(),
        policy_version: "0123456789ab".to_owned(),
        ..Decision::default()
    }
}

fn connection(id: &str, reason: &str) -> Connection {
    Connection {
        id: id.to_owned(),
        time: "2026-11-25T11:56:00.250Z".to_owned(),
        peer_address: "10.0.0.7:41234".to_owned(),
        local_address: "127.0.0.1:7001".to_owned(),
        verdict: "refused".to_owned(),
        reason: reason.to_owned(),
        bundle_sequence: 7,
        ..Connection::default()
    }
}

fn of_call(decision: Decision) -> Record {
    Record { decision: Some(decision), connection: None }
}

fn of_connection(connection: Connection) -> Record {
    Record { connection: Some(connection), decision: None }
}

/// The sample fleet, whose ledger remembers these.
fn ledger(records: impl IntoIterator<Item = Record>) -> Fleet {
    let mut fleet = fleet();
    fleet.members[1].records = records.into_iter().collect();
    fleet
}

fn ask(fleet: &Fleet, what: &str) -> Explanation {
    explain(fleet, &what.parse().unwrap()).unwrap_or_else(|missing| panic!("{missing}"))
}

fn golden(name: &str, explanation: &Explanation) {
    crate::golden::compare(&format!("explain-{name}.txt"), &explanation.text);
    crate::golden::compare(&format!("explain-{name}.json"), &format!("{:#}\n", explanation.json));
}

fn previous(fleet: &mut Fleet, text: &str) {
    policy_of(fleet, 1).previous = Some(Policy {
        source: "/etc/avouch/policy.toml".to_owned(),
        version: "ffffffffffff".to_owned(),
        since: "2026-11-01T08:00:00.000Z".to_owned(),
        text: text.to_owned(),
    });
}

#[test]
fn a_missing_role_is_explained_to_the_clause_with_a_fix_that_was_tried() {
    let mut fleet = ledger([
        of_connection(Connection {
            verdict: "accepted".to_owned(),
            ..connection("conn-00000000000000aa", "")
        }),
        of_call(decision(DENIED, "ROLE_MISSING")),
    ]);
    fleet.members[0].records = vec![of_call(Decision {
        time: "2026-11-25T11:56:00.100Z".to_owned(),
        id: String::new(),
        peer: "spiffe://market.example/storefront".to_owned(),
        method: "/market.orders.v1.Orders/Place".to_owned(),
        verdict: "allowed".to_owned(),
        reason: String::new(),
        ..decision("", "")
    })];
    previous(&mut fleet, "[roles]\nledger-writer = [\"spiffe://market.example/*\"]\n");
    golden("role-missing", &ask(&fleet, DENIED));
}

#[test]
fn the_line_that_is_proposed_does_what_it_says_and_opens_nothing_else() {
    let fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    let json = ask(&fleet, DENIED).json;
    let tried = &json["remedy"]["tried"];
    assert_eq!((&tried["allowed"], &tried["outcome"]), (&json!(true), &json!("by the role ledger-writer")));
    assert_eq!((&tried["others"], &tried["also"]), (&json!([]), &json!([])));
    assert_eq!(
        json["remedy"]["line"],
        r#"ledger-writer = ["spiffe://market.example/payments", "spiffe://market.example/reports"]"#
    );
}

#[test]
fn of_several_roles_the_one_that_opens_least_is_proposed() {
    let mut fleet =
        ledger([of_call(Decision { method: READ.to_owned(), ..decision(DENIED, "ROLE_MISSING") })]);
    policy_of(&mut fleet, 1).methods.push(Method {
        path: "/market.ledger.v1.Ledger/Audit".to_owned(),
        roles: vec!["auditor".to_owned()],
        ..Method::default()
    });
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = "[roles]\n".to_owned();
    let json = ask(&fleet, DENIED).json;
    assert_eq!(json["remedy"]["line"], format!("ledger-reader = [\"{REPORTS}\"]"));
    assert_eq!(json["remedy"]["tried"]["also"], json!([]));
}

#[test]
fn when_the_policy_forbids_the_change_by_a_deny_the_trial_says_so() {
    let mut fleet = ledger([of_call(decision(DENIED, "DENY_RULE_MATCHED"))]);
    let text =
        format!("{POLICY}\n[[deny]]\ncaller = \"{REPORTS}\"\nmethods = [\"/market.ledger.v1.Ledger/*\"]\n");
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = text;
    let explanation = ask(&fleet, DENIED);
    assert!(explanation.text.contains("the one at /etc/avouch/policy.toml:12"), "{}", explanation.text);
    // Without the rule the role is still missing.
    assert!(explanation.text.contains("still refused, ROLE_MISSING"), "{}", explanation.text);
}

#[test]
fn a_change_that_a_test_of_the_policy_forbids_is_not_called_good() {
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    let text =
        format!("{POLICY}\n[[test]]\ncaller = \"{REPORTS}\"\nmethod = \"{POST}\"\nexpect = \"deny\"\n");
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = text;
    let explanation = ask(&fleet, DENIED);
    assert_eq!(explanation.json["remedy"]["tried"]["allowed"], false);
    assert!(
        explanation.text.contains("still refused, the changed policy is not good"),
        "{}",
        explanation.text
    );
}

#[test]
fn a_condition_that_failed_is_named_and_no_line_without_it_is_proposed() {
    let line =
        format!("[roles]\nledger-writer = [{{ caller = \"{REPORTS}\", max_certificate_age = \"1h\" }}]\n");
    let call = decision(DENIED, "ROLE_MISSING");
    let over = |not_before: &str| Connection {
        verdict: "accepted".to_owned(),
        peer_not_before: not_before.to_owned(),
        ..connection("conn-00000000000000aa", "")
    };
    let mut fleet = ledger([of_call(call.clone()), of_connection(over("2026-11-25T09:56:00Z"))]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = line.clone();
    let explanation = ask(&fleet, DENIED);
    assert!(explanation.text.contains("max_certificate_age asks for"), "{}", explanation.text);
    assert_eq!(explanation.json["remedy"]["line"], "");
    // A younger certificate meets it.
    let mut fleet = ledger([of_call(call.clone()), of_connection(over("2026-11-25T11:30:00Z"))]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = line.clone();
    assert!(ask(&fleet, DENIED).text.contains("the policy in force now allows it"));
    // Without a record of the connection nobody knows.
    let mut fleet = ledger([of_call(call)]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = line;
    assert!(ask(&fleet, DENIED).text.contains("as far as records show it"), "{}", ask(&fleet, DENIED).text);
}

#[test]
fn what_audit_mode_let_through_is_still_a_refusal_to_mend() {
    let mut fleet =
        ledger([of_call(Decision { verdict: "audited".to_owned(), ..decision(DENIED, "ROLE_MISSING") })]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = format!("mode = \"audit\"\n{POLICY}");
    let explanation = ask(&fleet, DENIED);
    assert!(explanation.text.starts_with("LET THROUGH IN AUDIT MODE"), "{}", explanation.text);
    assert_eq!(explanation.json["remedy"]["tried"]["allowed"], true);
}

#[test]
fn it_says_since_when_and_whether_the_policy_before_would_have_allowed_it() {
    let record = || of_call(decision(DENIED, "ROLE_MISSING"));
    let text = |before: Option<&str>, now: &str| {
        let mut fleet = ledger([record()]);
        if let Some(before) = before {
            previous(&mut fleet, before);
        }
        policy_of(&mut fleet, 1).current.as_mut().unwrap().text = now.to_owned();
        ask(&fleet, DENIED).text
    };
    let allowing = format!("[roles]\nledger-writer = [\"{REPORTS}\"]\n");
    let none = "[roles]\n";
    for (before, now, expected) in [
        (None, none, "no other policy since the process started"),
        (Some(none), none, "ffffffffffff, would have refused it too"),
        (Some(allowing.as_str()), none, "ffffffffffff, would have allowed it: refused since 0123456789ab"),
        (Some(none), allowing.as_str(), "allowed now: 0123456789ab changed it"),
        (None, allowing.as_str(), "the policy in force now allows it; let the caller try again"),
    ] {
        let text = text(before, now);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn other_refusals_of_calls_name_their_clause() {
    let of = |reason: &str, change: fn(&mut Decision)| {
        let mut record = decision(DENIED, reason);
        change(&mut record);
        ask(&ledger([of_call(record)]), DENIED).text
    };
    let text = of("NO_ALLOW_RULE", |record| {
        record.method = "/market.ledger.v1.Ledger/Pots".to_owned();
        record.rule = "none: the contract does not know this RPC".to_owned();
        record.need.clear();
    });
    assert!(text.contains(&format!("the nearest it knows is {POST}")), "{text}");
    let text = of("NO_ALLOW_RULE", |record| {
        record.method = "/market.ledger.v1.Ledger/Close".to_owned();
        record.rule = "local_admin".to_owned();
    });
    assert!(text.contains("only the local administrator"), "{text}");
    let text = of("NO_PEER_IDENTITY", |record| record.peer = "anonymous".to_owned());
    assert!(
        text.contains("the caller showed no certificate") && text.contains("call with an identity"),
        "{text}"
    );
    let text = of("ROLE_MISSING", |record| record.verdict = "audited".to_owned());
    assert!(text.starts_with("LET THROUGH IN AUDIT MODE"), "{text}");
}

#[test]
fn a_policy_that_cannot_be_read_here_is_said_and_the_record_still_shown() {
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().text = "[roles]\nunknown = []\n".to_owned();
    let text = ask(&fleet, DENIED).text;
    assert!(text.contains("cannot be read here") && text.contains("has [ledger-reader]"), "{text}");
    fleet.members[1].policy = None;
    assert!(ask(&fleet, DENIED).text.contains("has [ledger-reader]"));
}

#[test]
fn the_issuer_says_which_entry_was_meant_and_how_to_get_in() {
    let mut fleet = fleet();
    let new = "spiffe://market.example/new";
    let record = |reason: &str, detail: &str| {
        of_call(Decision {
            peer: "anonymous".to_owned(),
            method: "/avouch.issuer.v1.Issuer/Enroll".to_owned(),
            detail: detail.to_owned(),
            trace_id: String::new(),
            need: Vec::new(),
            have: Vec::new(),
            rule: String::new(),
            place: String::new(),
            policy_version: String::new(),
            ..decision(DENIED, reason)
        })
    };
    for (reason, detail, expected) in [
        (
            "NO_MATCHING_ENTRY",
            format!("there is no entry for {new}: never"),
            format!("avouch entry add {new}"),
        ),
        (
            "NO_MATCHING_ENTRY",
            format!("the certificate 0a of {ORDERS} is old"),
            format!("avouch token create {ORDERS}"),
        ),
        ("JOIN_TOKEN_ALREADY_USED", format!("for {ORDERS}"), format!("avouch cert list --all --id {ORDERS}")),
        ("STORE_UNAVAILABLE", format!("for {ORDERS}"), "avouch check --only storage".to_owned()),
        ("CSR_INVALID", String::new(), "send a PKCS#10 request".to_owned()),
    ] {
        fleet.issuer_records = vec![record(reason, &detail)];
        let text = ask(&fleet, DENIED).text;
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    fleet.issuer_records = vec![record("NO_MATCHING_ENTRY", &format!("there is no entry for {new}"))];
    golden("no-matching-entry", &ask(&fleet, DENIED));
}

fn expired() -> Connection {
    Connection {
        peer_id: ORDERS.to_owned(),
        peer_serial: "0a".to_owned(),
        peer_subject: "CN=orders".to_owned(),
        peer_not_before: "2026-11-25T10:52:00Z".to_owned(),
        peer_not_after: "2026-11-25T11:52:00Z".to_owned(),
        peer_authority: "aa".to_owned(),
        detail: "the leaf expired 4 minutes ago".to_owned(),
        ..connection(REFUSED, "CERT_EXPIRED")
    }
}

#[test]
fn an_expired_certificate_is_explained_by_dates_clocks_and_the_renewal_that_failed() {
    let mut fleet = ledger([of_connection(expired())]);
    fleet.certificates = vec![IssuedCertificate {
        serial: "0a".to_owned(),
        spiffe_id: ORDERS.to_owned(),
        origin: "renew".to_owned(),
        not_after: "2026-11-25T11:52:00Z".to_owned(),
        ..IssuedCertificate::default()
    }];
    status_of(&mut fleet, 0).last_renewal.as_mut().unwrap().error = "NO_MATCHING_ENTRY: no entry".to_owned();
    status_of(&mut fleet, 1).clock_ahead_millis = 600_000;
    golden("expired", &ask(&fleet, REFUSED));
}

#[test]
fn an_untrusted_certificate_is_explained_by_an_old_bundle_or_a_strange_authority() {
    let record = |sequence| Connection {
        peer_authority: "ee".to_owned(),
        bundle_sequence: sequence,
        ..connection(REFUSED, "CERT_UNTRUSTED")
    };
    let text = ask(&ledger([of_connection(record(6))]), REFUSED).text;
    assert!(text.contains("judged by bundle 6, the issuer gives out 7"), "{text}");
    assert!(text.contains("avouch check --only trust"), "{text}");
    let text = ask(&ledger([of_connection(record(7))]), REFUSED).text;
    assert!(!text.contains("judged by bundle") && text.contains("ee, which is not this issuer"), "{text}");
}

#[test]
fn a_client_that_turned_away_is_explained_by_whom_it_expected() {
    let record = || of_connection(connection(REFUSED, "HANDSHAKE_REFUSED"));
    let mut fleet = ledger([record()]);
    assert!(!ask(&fleet, REFUSED).text.contains("\n  cause "));
    status_of(&mut fleet, 0).upstreams[0].spiffe_id = REPORTS.to_owned();
    let text = ask(&fleet, REFUSED).text;
    assert!(text.contains("the client refused this server"), "{text}");
    assert!(
        text.contains(&format!("expects {REPORTS} at https://127.0.0.1:7001, and this is {LEDGER}")),
        "{text}"
    );
    assert!(
        text.contains("[upstreams.ledger] in the configuration of spiffe://market.example/orders"),
        "{text}"
    );
}

#[test]
fn a_clock_that_is_far_off_explains_a_client_that_turned_away() {
    let mut fleet = ledger([of_connection(connection(REFUSED, "HANDSHAKE_REFUSED"))]);
    status_of(&mut fleet, 1).clock_ahead_millis = 20_000;
    assert!(!ask(&fleet, REFUSED).text.contains("\n  cause "));
    status_of(&mut fleet, 1).clock_ahead_millis = -600_000;
    assert!(ask(&fleet, REFUSED).text.contains("the server's clock is 10m behind the issuer's"));
}

#[test]
fn a_policy_file_that_does_not_load_is_said_before_anything_else_is_advised() {
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    status_of(&mut fleet, 1).policy.as_mut().unwrap().problem =
        "policy.toml:3:1: no RPC asks for the role \"ledger-writr\"; did you mean \"ledger-writer\"?"
            .to_owned();
    let text = ask(&fleet, DENIED).text;
    assert!(text.contains("is not in force, it does not load: policy.toml:3:1"), "{text}");
    assert!(text.contains("fix          correct the policy file first"), "{text}");
}

#[test]
fn every_reason_of_a_refused_connection_ends_in_advice() {
    for reason in Reason::ALL {
        let text = ask(&ledger([of_connection(connection(REFUSED, reason.as_str()))]), REFUSED).text;
        assert!(text.contains(&format!("because      {reason}")) && text.contains("\n  fix "), "{text}");
    }
}

#[test]
fn a_client_finds_the_record_by_its_own_address_and_the_time() {
    let at = |id: &str, port: u16, time: &str, verdict: &str| {
        of_connection(Connection {
            peer_address: format!("10.0.0.7:{port}"),
            time: time.to_owned(),
            verdict: verdict.to_owned(),
            ..connection(id, "CERT_UNTRUSTED")
        })
    };
    let fleet = ledger([
        at("conn-0000000000000001", 41234, "2026-11-25T11:00:00.000Z", "refused"),
        at("conn-0000000000000002", 41234, "2026-11-25T11:56:00.000Z", "refused"),
        at("conn-0000000000000003", 41234, "2026-11-25T11:58:00.000Z", "accepted"),
        at("conn-0000000000000004", 50000, "2026-11-25T11:30:30.000Z", "refused"),
    ]);
    let found = |what: &str| ask(&fleet, what).json["id"].as_str().unwrap().to_owned();
    // The latest that was refused; or the nearest in time.
    assert_eq!(found("10.0.0.7:41234"), "conn-0000000000000002");
    assert_eq!(found("[::ffff:10.0.0.7]:41234"), "conn-0000000000000002");
    assert_eq!(found("10.0.0.7:41234,2026-11-25T11:00:05Z"), "conn-0000000000000001");
    assert_eq!(found("10.0.0.7:41234,2026-11-25T11:58:01Z"), "conn-0000000000000003");
    // Behind NAT the port is another one.
    assert_eq!(found("10.0.0.7:1,2026-11-25T11:30:00Z"), "conn-0000000000000004");
    for unknown in ["10.0.0.7:1", "10.0.0.7:1,2026-11-25T12:30:00Z", "10.0.0.8:41234"] {
        assert!(explain(&fleet, &unknown.parse().unwrap()).is_err(), "{unknown}");
    }
    // On a loopback that would be somebody else's.
    let time = "2026-11-25T11:30:00.000Z";
    let record = Connection {
        peer_address: "127.0.0.1:50000".to_owned(),
        time: time.to_owned(),
        verdict: "refused".to_owned(),
        ..connection("conn-0000000000000005", "CERT_UNTRUSTED")
    };
    let fleet = ledger([of_connection(record)]);
    assert!(explain(&fleet, &format!("127.0.0.1:1,{time}").parse().unwrap()).is_err());
    assert!(explain(&fleet, &format!("127.0.0.1:50000,{time}").parse().unwrap()).is_ok());
}

#[test]
fn a_connection_shows_the_calls_that_were_refused_over_it() {
    let accepted = Connection { verdict: "accepted".to_owned(), ..connection(REFUSED, "") };
    let call = Decision { connection_id: REFUSED.to_owned(), ..decision(DENIED, "ROLE_MISSING") };
    let text = ask(&ledger([of_connection(accepted), of_call(call)]), REFUSED).text;
    assert!(text.starts_with("ACCEPTED 10.0.0.7:41234"), "{text}");
    assert!(text.contains(&format!("{POST} ROLE_MISSING ({DENIED})")), "{text}");
}

#[test]
fn the_connection_of_a_call_is_the_one_that_its_own_server_has() {
    let mine =
        Connection { peer_address: "10.0.0.9:1".to_owned(), ..connection("conn-00000000000000aa", "") };
    let forged = Connection { peer_address: "10.9.9.9:9".to_owned(), ..mine.clone() };
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING")), of_connection(mine)]);
    fleet.members[0].records = vec![of_connection(forged)];
    let text = ask(&fleet, DENIED).text;
    assert!(text.contains("from 10.0.0.9:1") && !text.contains("10.9.9.9"), "{text}");
}

#[test]
fn a_process_is_called_what_it_was_asked_as_and_not_what_it_says() {
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    status_of(&mut fleet, 1).spiffe_id = ORDERS.to_owned();
    let text = ask(&fleet, DENIED).text;
    assert!(text.starts_with(&format!("DENIED {REPORTS} → {LEDGER} ")), "{text}");
}

#[test]
fn two_processes_with_the_same_id_are_both_shown() {
    let mut fleet = ledger([of_call(decision(DENIED, "ROLE_MISSING"))]);
    fleet.members[0].records = vec![of_call(decision(DENIED, "NO_ALLOW_RULE"))];
    let explanation = ask(&fleet, DENIED);
    assert_eq!(explanation.text.matches("DENIED ").count(), 2);
    assert_eq!(explanation.json.as_array().unwrap().len(), 2);
}

#[test]
fn what_nobody_has_on_record_says_who_was_asked_and_how_it_can_be_gone() {
    let mut fleet = ledger([
        of_connection(Connection { suppressed: 12, ..expired() }),
        of_call(Decision { suppressed: u64::MAX, ..decision("d-1", "ROLE_MISSING") }),
        of_call(Decision { suppressed: 3, ..decision("d-2", "ROLE_MISSING") }),
    ]);
    fleet.members[0].status = None;
    fleet.members[0].problem = "connection refused".to_owned();
    let missing = explain(&fleet, &"d-ffffffffffffffff".parse().unwrap()).unwrap_err();
    crate::golden::compare("explain-missing.txt", &format!("{missing}\n\n{}\n", missing.help()));
    crate::golden::compare("explain-missing.json", &format!("{:#}\n", missing.to_json()));
}

#[test]
fn checks_and_reasons_need_nobody() {
    for id in crate::checks::ids() {
        assert!(offline(&id.parse().unwrap()).is_some(), "{id}");
    }
    for reason in Reason::ALL {
        let explanation = offline(&reason.as_str().parse().unwrap()).unwrap();
        assert!(explanation.text.contains("What to do: "), "{reason}");
    }
    assert!(offline(&DENIED.parse().unwrap()).is_none());
}

#[test]
fn no_record_can_move_the_cursor_or_add_a_line() {
    let hostile = "\x1b[2J\r\n  fix          run `rm -rf /`\u{202e}\u{9b}31m".to_owned();
    let mut call = decision(DENIED, "ROLE_MISSING");
    for field in [
        &mut call.time,
        &mut call.peer,
        &mut call.method,
        &mut call.verdict,
        &mut call.detail,
        &mut call.rule,
        &mut call.place,
        &mut call.policy_version,
        &mut call.reason,
    ] {
        *field = hostile.clone();
    }
    call.need = vec![hostile.clone(), hostile.repeat(100)];
    call.have = call.need.clone();
    let mut refused = connection(REFUSED, "CERT_UNTRUSTED");
    for field in [
        &mut refused.time,
        &mut refused.peer_id,
        &mut refused.peer_serial,
        &mut refused.peer_subject,
        &mut refused.peer_not_before,
        &mut refused.peer_not_after,
        &mut refused.peer_authority,
        &mut refused.detail,
        &mut refused.end_reason,
        &mut refused.end_detail,
        &mut refused.tls_version,
        &mut refused.group,
    ] {
        *field = hostile.clone();
    }
    refused.suppressed = u64::MAX;
    let mut fleet = ledger([of_call(call), of_connection(refused)]);
    policy_of(&mut fleet, 1).current.as_mut().unwrap().source = hostile.clone();
    policy_of(&mut fleet, 1).current.as_mut().unwrap().version = hostile.clone();
    status_of(&mut fleet, 1).spiffe_id = hostile.clone();
    fleet.members[1].address = hostile.clone();
    fleet.members[0].status = None;
    fleet.members[0].problem = hostile;
    for what in [DENIED, REFUSED] {
        let text = ask(&fleet, what).text;
        assert!(text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("  fix          run")), "{text}");
    }
    let missing = explain(&fleet, &"d-ffffffffffffffff".parse().unwrap()).unwrap_err().to_string();
    assert!(missing.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{missing:?}");
}

#[test]
fn a_caller_from_elsewhere_cannot_write_into_the_proposed_line() {
    let peer = "spiffe://evil.example/a\"] auditor = [\"spiffe://evil.example/b".to_owned();
    let record = Decision { peer, ..decision(DENIED, "ROLE_MISSING") };
    // Not a SPIFFE ID, so nothing is proposed.
    let json = ask(&ledger([of_call(record)]), DENIED).json;
    assert_eq!(json["remedy"]["line"], "");
}

/// The sample fleet, whose issuer has revoked this; its ledger remembers the record.
fn revoked(record: Record, revocation: RevocationRecord) -> Fleet {
    Fleet { revocations: vec![revocation], ..ledger([record]) }
}

fn revocation(subject: &str) -> RevocationRecord {
    RevocationRecord {
        id: 7,
        subject: subject.to_owned(),
        spiffe_id: REPORTS.to_owned(),
        reason: "laptop stolen".to_owned(),
        actor: "uid 1000".to_owned(),
        created_at: "2026-11-25T11:55:00.000Z".to_owned(),
        epoch: 1_800_000_000,
        counter: 3,
        serials: vec!["0a1b".to_owned(), "0a1c".to_owned()],
        ..RevocationRecord::default()
    }
}

#[test]
fn what_was_cut_off_is_explained_by_who_did_it_when_why_and_how_it_is_undone() {
    let refused = Connection { peer_id: REPORTS.to_owned(), ..connection(REFUSED, "IDENTITY_REVOKED") };
    golden("identity-revoked", &ask(&revoked(of_connection(refused), revocation(REPORTS)), REFUSED));
    let ended = Connection {
        verdict: "accepted".to_owned(),
        reason: String::new(),
        peer_serial: "0a1c".to_owned(),
        ended_at: "2026-11-25T11:57:00.000Z".to_owned(),
        end_reason: "CERT_REVOKED".to_owned(),
        ..connection(REFUSED, "")
    };
    golden("cert-revoked", &ask(&revoked(of_connection(ended), revocation("serial:0a1b")), REFUSED));
}

#[test]
fn a_refused_renewal_names_the_revocation_as_well() {
    let refused = Decision {
        method: "/avouch.issuer.v1.Issuer/Renew".to_owned(),
        ..decision(DENIED, "IDENTITY_REVOKED")
    };
    let text = ask(&revoked(of_call(refused), revocation(REPORTS)), DENIED).text;
    for part in ["by uid 1000, ", "reason: laptop stolen", "`avouch revoke --undo 7`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_revocation_that_was_undone_or_is_of_another_peer_is_no_advice_to_undo() {
    let of = |peer: &str| Connection { peer_id: peer.to_owned(), ..connection(REFUSED, "IDENTITY_REVOKED") };
    let undone = RevocationRecord {
        undone_at: "2026-11-25T11:58:00.000Z".to_owned(),
        undone_by: "uid 0".to_owned(),
        ..revocation(REPORTS)
    };
    let text = ask(&revoked(of_connection(of(REPORTS)), undone), REFUSED).text;
    assert!(text.contains("undone 2026-11-25T11:58:00.000Z") && !text.contains("--undo"), "{text}");
    let text = ask(&revoked(of_connection(of(ORDERS)), revocation(REPORTS)), REFUSED).text;
    assert!(!text.contains("revocation 7"), "{text}");
}
