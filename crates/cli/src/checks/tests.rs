//! Every check good and bad; what is hidden behind what; what people and programs read.

use super::catalogue::catalogue;
use super::check::{Category, Check};
use super::finding::Level;
use super::view::View;
use super::*;
use crate::sample::*;
use avouch_api::observe::v1::*;
use avouch_fleet::{Fleet, ForkBranch, ForkRecord, IssuedCertificate, RevocationRecord};
use std::collections::{BTreeMap, BTreeSet};

/// A fleet with one thing broken, and what its check is to say.
type Case = (&'static str, Level, fn(&mut Fleet));

/// Streams in use, and how many there are; most of them one caller's.
fn share(used: u64, limit: u64, refused: u64) -> Share {
    let holders = vec![ShareHolder {
        spiffe_id: "spiffe://market.example/greedy".to_owned(),
        network: "192.0.2.1".to_owned(),
        held: used,
    }];
    Share { resource: "streams".to_owned(), used, limit, refused, holders }
}

#[test]
fn a_listener_that_is_full_says_of_what_and_who_holds_most() {
    let mut fleet = fleet();
    status_of(&mut fleet, 0).shares = vec![share(1, 8, 0), share(8, 8, 3)];
    let view = View::new(&fleet);
    let check = catalogue().find(|check| check.id == "AV-508").unwrap();
    let found = (check.judge)(&view);
    let bad = found.iter().find(|finding| finding.level == Level::Bad).unwrap();
    assert_eq!(
        bad.text,
        "8 of 8 streams are in use, 3 refused since the start; most by spiffe://market.example/greedy from 192.0.2.1 (8)"
    );
}

/// At least one for each check that is more than a note.
const BROKEN: &[Case] = &[
    ("AV-101", Level::Bad, |fleet| {
        fleet.issuer = None;
        fleet.issuer_problem = "no issuer answers on /run/avouch/admin.sock".to_owned();
    }),
    ("AV-101", Level::Bad, |fleet| fleet.issuer = None),
    ("AV-101", Level::Warning, |fleet| fleet.issuer_problem = "it lists no workloads".to_owned()),
    ("AV-102", Level::Bad, |fleet| issuer_of(fleet).phase = "starting".to_owned()),
    ("AV-102", Level::Warning, |fleet| issuer_of(fleet).phase.clear()),
    ("AV-103", Level::Note, |fleet| signing(fleet, "2026-12-30T00:00:00Z")),
    ("AV-103", Level::Warning, |fleet| signing(fleet, "2026-12-01T00:00:00Z")),
    ("AV-103", Level::Bad, |fleet| signing(fleet, "2026-11-26T00:00:00Z")),
    ("AV-103", Level::Bad, |fleet| signing(fleet, "2026-11-25T11:00:00Z")),
    ("AV-103", Level::Bad, |fleet| signing(fleet, "soon")),
    ("AV-103", Level::Bad, |fleet| fleet.issuer.as_mut().unwrap().signing.clear()),
    ("AV-104", Level::Bad, |fleet| {
        let bundle = issuer_of(fleet).bundle.as_mut().unwrap();
        bundle.roots[0].not_after = "2026-12-20T00:00:00Z".to_owned();
    }),
    ("AV-201", Level::Bad, |fleet| svid(fleet, "2026-11-25T11:59:00Z")),
    ("AV-201", Level::Bad, |fleet| svid(fleet, "2026-11-25T12:01:00Z")),
    ("AV-201", Level::Warning, |fleet| svid(fleet, "2026-11-25T12:04:00Z")),
    ("AV-201", Level::Bad, |fleet| {
        status_of(fleet, 0).svid.as_mut().unwrap().not_before = "2026-11-25T12:10:00Z".to_owned();
    }),
    ("AV-201", Level::Bad, |fleet| svid(fleet, "soon")),
    ("AV-202", Level::Bad, |fleet| {
        status_of(fleet, 1).last_renewal.as_mut().unwrap().error = "NO_MATCHING_ENTRY: no entry".to_owned();
    }),
    ("AV-203", Level::Bad, |fleet| status_of(fleet, 1).svid.as_mut().unwrap().key_matches = false),
    ("AV-204", Level::Warning, |fleet| status_of(fleet, 1).phase = "draining".to_owned()),
    ("AV-205", Level::Bad, |fleet| status_of(fleet, 1).svid = None),
    ("AV-205", Level::Bad, |fleet| status_of(fleet, 1).svid = Some(Svid::default())),
    ("AV-206", Level::Warning, |fleet| upstream(fleet, REPORTS)),
    ("AV-206", Level::Bad, |fleet| upstream(fleet, "spiffe://market.example/ledgr")),
    ("AV-207", Level::Bad, |fleet| {
        status_of(fleet, 1).upstreams[0].url = "https://127.0.0.1:7004".to_owned()
    }),
    ("AV-207", Level::Warning, |fleet| {
        status_of(fleet, 0).upstreams[0].url = "https://127.0.0.1:7999".to_owned();
    }),
    ("AV-208", Level::Bad, |fleet| {
        status_of(fleet, 0).identity_problems = vec![SourceProblem {
            part: "certificate".to_owned(),
            path: "/run/svid.pem".to_owned(),
            detail: "the bundle in /run/bundle.pem does not vouch for it".to_owned(),
            reason: "CERT_UNTRUSTED".to_owned(),
            since: "2026-11-25T11:50:00.000Z".to_owned(),
        }];
    }),
    ("AV-301", Level::Warning, |fleet| status_of(fleet, 0).bundle.as_mut().unwrap().sequence = 6),
    ("AV-301", Level::Bad, |fleet| {
        let bundle = issuer_of(fleet).bundle.as_mut().unwrap();
        bundle.roots.push(authority("CN=next", "cc", "2026-11-01T00:00:00Z", "2036-01-01T00:00:00Z"));
    }),
    ("AV-302", Level::Warning, |fleet| status_of(fleet, 0).trust_stream = "down".to_owned()),
    ("AV-302", Level::Note, |fleet| status_of(fleet, 0).trust_stream = "none".to_owned()),
    ("AV-303", Level::Bad, |fleet| {
        status_of(fleet, 0).bundle.as_mut().unwrap().roots[0].fingerprint = "dd".to_owned();
    }),
    ("AV-304", Level::Bad, |fleet| trust_of(fleet).counter = 2),
    ("AV-304", Level::Warning, |fleet| {
        trust_of(fleet).epoch = 1;
        fleet.issuer.as_mut().unwrap().revocations = 0;
    }),
    ("AV-304", Level::Note, |fleet| {
        trust_of(fleet).counter = 2;
        issuer_of(fleet).trust.as_mut().unwrap().since = "2026-11-25T11:59:57.000Z".to_owned();
    }),
    ("AV-304", Level::Note, |fleet| {
        trust_of(fleet).counter = 2;
        fleet.revocations = vec![made(3, "2026-11-25T11:59:58.000Z"), made(2, "2026-11-25T11:00:00.000Z")];
    }),
    ("AV-304", Level::Note, |fleet| {
        trust_of(fleet).epoch = 1_799_999_999;
        issuer_of(fleet).started_at = "2026-11-25T11:59:58.000Z".to_owned();
    }),
    ("AV-305", Level::Warning, |fleet| cut_off(fleet, 1_199)),
    ("AV-305", Level::Warning, |fleet| cut_off(fleet, -1)),
    ("AV-305", Level::Note, |fleet| cut_off(fleet, 1_200)),
    ("AV-306", Level::Warning, |fleet| trust_of(fleet).problem = "no space left on device".to_owned()),
    ("AV-307", Level::Warning, |fleet| status_of(fleet, 0).trust = None),
    ("AV-308", Level::Warning, |fleet| fleet.issuer.as_mut().unwrap().revocations = 64_000),
    ("AV-308", Level::Bad, |fleet| fleet.issuer.as_mut().unwrap().revocations = 76_000),
    ("AV-309", Level::Warning, |fleet| fleet.issuer.as_mut().unwrap().lost_changes = 2),
    ("AV-310", Level::Bad, |fleet| fleet.issuer.as_mut().unwrap().open_forks = 1),
    ("AV-310", Level::Bad, |fleet| fleet.forks = vec![fork()]),
    ("AV-401", Level::Bad, |fleet| status_of(fleet, 0).policy = None),
    ("AV-402", Level::Bad, |fleet| {
        status_of(fleet, 0).policy.as_mut().unwrap().problem =
            "policy.toml:3:1: no RPC asks for it".to_owned();
    }),
    ("AV-403", Level::Warning, |fleet| {
        policy_of(fleet, 0).current.as_mut().unwrap().text = "[roles]\nwriter = []\n".to_owned();
    }),
    ("AV-403", Level::Warning, |fleet| policy_of(fleet, 0).methods[0].roles.clear()),
    ("AV-403", Level::Note, |fleet| status_of(fleet, 0).policy.as_mut().unwrap().tests = 0),
    ("AV-404", Level::Warning, |fleet| {
        status_of(fleet, 0).policy.as_mut().unwrap().unused = vec!["policy.toml:9: nobody".to_owned()];
    }),
    ("AV-405", Level::Warning, |fleet| status_of(fleet, 0).policy.as_mut().unwrap().audit = true),
    ("AV-406", Level::Warning, |fleet| {
        fleet.members.push(member(ORDERS, "127.0.0.1:7014"));
        status_of(fleet, 2).policy.as_mut().unwrap().version = "ba9876543210".to_owned();
    }),
    ("AV-501", Level::Bad, |fleet| {
        fleet.members[0].status = None;
        fleet.members[0].problem = "connection refused".to_owned();
    }),
    ("AV-501", Level::Warning, |fleet| fleet.members[0].problem = "it lists no records".to_owned()),
    ("AV-501", Level::Note, |fleet| {
        fleet.members[0].status = None;
        fleet.members[0].address.clear();
    }),
    ("AV-502", Level::Bad, |fleet| fleet.operator_problem = "the operator is not registered".to_owned()),
    ("AV-503", Level::Warning, |fleet| status_of(fleet, 0).health_listen = "0.0.0.0:7104".to_owned()),
    ("AV-503", Level::Warning, |fleet| status_of(fleet, 0).health_listen = "[::]:7104".to_owned()),
    ("AV-503", Level::Warning, |fleet| status_of(fleet, 0).health_listen = "orders:7104".to_owned()),
    ("AV-504", Level::Bad, |fleet| status_of(fleet, 0).listener.as_mut().unwrap().resumption = true),
    ("AV-505", Level::Bad, |fleet| {
        status_of(fleet, 0).listener.as_mut().unwrap().tls_versions.push("TLSv1_2".to_owned());
    }),
    ("AV-505", Level::Bad, |fleet| fleet.members[0].edges[0].tls_version = "TLSv1_2".to_owned()),
    ("AV-506", Level::Note, |fleet| fleet.members[0].edges[0].group = "X25519".to_owned()),
    ("AV-507", Level::Bad, |fleet| {
        status_of(fleet, 0).listener.as_mut().unwrap().optional_client_certificate = true;
    }),
    ("AV-508", Level::Bad, |fleet| status_of(fleet, 0).shares = vec![share(8, 8, 3)]),
    ("AV-508", Level::Warning, |fleet| status_of(fleet, 0).shares = vec![share(80, 100, 0)]),
    ("AV-508", Level::Note, |fleet| status_of(fleet, 0).shares = vec![share(1, 100, 3)]),
    ("AV-601", Level::Warning, |fleet| status_of(fleet, 0).clock_ahead_millis = 6_000),
    ("AV-601", Level::Bad, |fleet| status_of(fleet, 0).clock_ahead_millis = -600_000),
    // The measurement is older than the clock's jump.
    ("AV-601", Level::Bad, |fleet| status_of(fleet, 0).now = "2026-11-25T12:10:00.000Z".to_owned()),
    ("AV-601", Level::Bad, |fleet| {
        status_of(fleet, 0).issuer_clock_at.clear();
        status_of(fleet, 0).now = "2026-11-25T11:59:00.000Z".to_owned();
    }),
    ("AV-602", Level::Bad, |fleet| fleet.taken_at = "2026-11-25T12:10:00.000Z".to_owned()),
    ("AV-602", Level::Warning, |fleet| fleet.taken_at = "2026-11-25T11:59:40.000Z".to_owned()),
    ("AV-701", Level::Bad, |fleet| {
        fleet.issuer.as_mut().unwrap().store_problem = "disk I/O error".to_owned();
    }),
    ("AV-702", Level::Warning, |fleet| status_of(fleet, 0).disks[0].free_bytes = 9),
    ("AV-702", Level::Bad, |fleet| status_of(fleet, 0).disks[0].free_bytes = 1),
    ("AV-702", Level::Bad, |fleet| status_of(fleet, 0).disks[0].problem = "read-only".to_owned()),
    ("AV-801", Level::Warning, |fleet| status_of(fleet, 0).records.as_mut().unwrap().dropped = 3),
    ("AV-802", Level::Warning, |fleet| {
        status_of(fleet, 0).records.as_mut().unwrap().problem = "no space".to_owned();
    }),
];

fn signing(fleet: &mut Fleet, until: &str) {
    fleet.issuer.as_mut().unwrap().signing[0].not_after = until.to_owned();
    if until == "2026-12-30T00:00:00Z" {
        fleet.issuer.as_mut().unwrap().signing[0].not_before = "2026-09-30T00:00:00Z".to_owned();
    }
}

fn svid(fleet: &mut Fleet, until: &str) {
    status_of(fleet, 0).svid.as_mut().unwrap().not_after = until.to_owned();
}

/// The revocation of a generation.
fn made(counter: u32, at: &str) -> RevocationRecord {
    RevocationRecord {
        epoch: 1_800_000_000,
        counter,
        created_at: at.to_owned(),
        ..RevocationRecord::default()
    }
}

fn trust_of(fleet: &mut Fleet) -> &mut TrustState {
    status_of(fleet, 0).trust.as_mut().unwrap()
}

/// Nothing is heard of the issuer, and so many seconds are left.
fn cut_off(fleet: &mut Fleet, left: i64) {
    // A third of its life are twenty minutes.
    status_of(fleet, 0).trust_stream = "down".to_owned();
    trust_of(fleet).outage_budget_seconds = left;
}

fn fork() -> ForkRecord {
    let branch = |serial: &str, address: &str| ForkBranch {
        certificate: IssuedCertificate { serial: serial.to_owned(), ..IssuedCertificate::default() },
        peer_address: address.to_owned(),
    };
    ForkRecord {
        spiffe_id: ORDERS.to_owned(),
        serial: "0a1b".to_owned(),
        noticed_at: NOW.to_owned(),
        revocation_id: 0,
        branches: vec![branch("0c", "10.0.0.7:50001"), branch("0d", "")],
    }
}

#[test]
fn a_fork_is_named_with_the_command_that_revokes_each_branch() {
    let text = text(&broken(|fleet| fleet.forks = vec![fork()]));
    for part in [
        "the branch from 10.0.0.7:50001: `avouch revoke serial:0c`",
        "the branch from an unknown address: `avouch revoke serial:0d`",
        "both: `avouch revoke serial:0a1b`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_issuer_of_an_older_version_is_not_asked_for_generations() {
    let levels = levels(&broken(|fleet| {
        let issuer = fleet.issuer.as_mut().unwrap();
        (issuer.epoch, issuer.counter) = (0, 0);
        issuer.process.as_mut().unwrap().trust = None;
        (0..2).for_each(|at| status_of(fleet, at).trust = None);
    }));
    for id in ["AV-304", "AV-305", "AV-306", "AV-307", "AV-308", "AV-309", "AV-310"] {
        assert_eq!(levels[id], "skipped", "{id}");
    }
}

fn upstream(fleet: &mut Fleet, id: &str) {
    status_of(fleet, 0).upstreams[0].spiffe_id = id.to_owned();
}

fn broken(breaking: fn(&mut Fleet)) -> Fleet {
    let mut fleet = fleet();
    breaking(&mut fleet);
    fleet
}

fn text(fleet: &Fleet) -> String {
    Report::of(fleet, &[]).to_page(false).into_text()
}

/// Each check's level, as programs read it.
fn levels(fleet: &Fleet) -> BTreeMap<String, String> {
    let json = Report::of(fleet, &[]).to_json();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    json["checks"].as_array().unwrap().iter().map(|one| (word(&one["id"]), word(&one["level"]))).collect()
}

#[test]
fn a_fleet_in_good_order_passes_every_check() {
    let levels = levels(&fleet());
    assert_eq!(levels.len(), catalogue().count());
    assert!(levels.values().all(|level| level == "good"), "{levels:#?}");
    assert!(Report::of(&fleet(), &[]).passes());
}

#[test]
fn every_check_finds_what_it_is_for() {
    for (id, level, breaking) in BROKEN {
        let fleet = broken(*breaking);
        let check = catalogue().find(|check| check.id == *id).unwrap();
        let findings = (check.judge)(&View::new(&fleet));
        let worst = findings.iter().map(|finding| finding.level).max();
        assert_eq!(worst, Some(*level), "{id}: {findings:?}");
        let passes = Report::of(&fleet, &[Selection::Id(check.id)]).passes();
        assert_eq!(passes, *level < Level::Bad, "{id}");
    }
    let tested: BTreeSet<_> = BROKEN.iter().map(|(id, ..)| *id).collect();
    assert_eq!(tested, catalogue().map(|check| check.id).collect());
}

#[test]
fn nothing_that_is_broken_is_without_a_line_that_says_what_to_do() {
    for (id, level, breaking) in BROKEN {
        let text = text(&broken(*breaking));
        if *level > Level::Note {
            assert!(text.contains(&format!("avouch explain {id}`")) || text.contains("because of"), "{text}");
        }
    }
}

#[test]
fn ids_are_used_once_and_causes_are_checks_that_lead_to_an_end() {
    let mut seen = BTreeSet::new();
    for id in ids() {
        assert!(seen.insert(id), "{id} is there twice");
        assert!(page(id).is_some() && page(&id.to_lowercase()).is_some(), "{id}");
    }
    fn end(check: &Check, path: &[&str]) {
        assert!(!path.contains(&check.id), "{path:?} comes back to {}", check.id);
        for cause in check.causes {
            let cause = catalogue().find(|check| check.id == *cause).unwrap();
            end(cause, &[path, &[check.id]].concat());
        }
    }
    catalogue().for_each(|check| end(check, &[]));
}

#[test]
fn every_item_of_an_inspected_certificate_can_be_explained() {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    for der in [leaf.der(), authority.der()] {
        let json = crate::inspect::inspect(der).to_json(std::time::SystemTime::UNIX_EPOCH);
        for item in json["checks"].as_array().unwrap() {
            let id = item["id"].as_str().unwrap();
            if id.starts_with("AV-") {
                let page = page(id).unwrap_or_else(|| panic!("{id} has no page"));
                assert!(page.contains(item["demand"].as_str().unwrap()), "{page}");
            }
        }
    }
}

/// Covers every source file of the command line: each id in it must have a page.
#[test]
fn every_id_that_the_program_can_print_can_be_explained() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![source];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for id in text.split("\"AV-").skip(1).filter_map(|rest| rest.split_once('"')).map(|(id, _)| id) {
                if id.len() == 3 && id != "999" && id.bytes().all(|byte| byte.is_ascii_digit()) {
                    assert!(page(&format!("AV-{id}")).is_some(), "AV-{id} of {} has no page", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_stopped_issuer_hides_what_follows_from_it_and_counts_it() {
    let fleet = broken(|fleet| {
        fleet.issuer = None;
        fleet.issuer_problem = "no issuer answers on /run/avouch/admin.sock".to_owned();
        for at in 0..2 {
            status_of(fleet, at).last_renewal.as_mut().unwrap().error = "cannot connect".to_owned();
            status_of(fleet, at).trust_stream = "down".to_owned();
        }
    });
    let text = text(&fleet);
    assert!(text.contains("× AV-101"), "{text}");
    assert!(!text.contains("cannot connect") && !text.contains("× AV-202"), "{text}");
    assert!(text.contains("because of AV-101 not shown: AV-102"), "{text}");
    assert!(text.contains("AV-202 (2 times)") && text.contains("AV-302 (2 times)"), "{text}");
    let levels = levels(&fleet);
    assert_eq!((levels["AV-202"].as_str(), levels["AV-102"].as_str()), ("hidden", "skipped"));
}

#[test]
fn what_is_hidden_is_still_a_failure() {
    let fleet = broken(|fleet| {
        fleet.issuer = None;
        status_of(fleet, 0).last_renewal.as_mut().unwrap().error = "cannot connect".to_owned();
    });
    for only in [Selection::Id("AV-202"), Selection::Id("AV-701"), Selection::Category(Category::Identity)] {
        assert!(!Report::of(&fleet, std::slice::from_ref(&only)).passes(), "{only:?}");
    }
    assert!(Report::of(&fleet, &[Selection::Category(Category::Records)]).passes());
}

#[test]
fn a_cause_hides_only_symptoms_of_the_same_process_and_nothing_worse_than_itself() {
    let fleet = broken(|fleet| {
        status_of(fleet, 0).clock_ahead_millis = -600_000;
        for at in 0..2 {
            status_of(fleet, at).last_renewal.as_mut().unwrap().error = "refused".to_owned();
        }
        // Only a warning: it does not explain that a renewal fails.
        signing(fleet, "2026-12-01T00:00:00Z");
    });
    let text = text(&fleet);
    assert!(text.contains("× AV-601") && text.contains("because of AV-601 not shown: AV-202\n"), "{text}");
    assert!(text.contains(&format!("{LEDGER} (127.0.0.1:7001): renew at")), "{text}");
    assert!(!text.contains(&format!("{ORDERS} (127.0.0.1:7004): renew at")), "{text}");
}

#[test]
fn a_process_of_another_installation_is_one_failure_and_not_three() {
    let fleet = broken(|fleet| {
        status_of(fleet, 0).bundle.as_mut().unwrap().roots[0].fingerprint = "dd".to_owned();
        status_of(fleet, 0).last_renewal.as_mut().unwrap().error = "CERT_UNTRUSTED".to_owned();
    });
    let text = text(&fleet);
    assert!(text.contains("× AV-303"), "{text}");
    assert!(text.contains("because of AV-303 not shown: AV-202, AV-301\n"), "{text}");
}

#[test]
fn a_disk_hides_its_own_process_alone() {
    let fleet = broken(|fleet| {
        issuer_of(fleet).disks[0].problem = "read-only".to_owned();
        fleet.issuer.as_mut().unwrap().store_problem = "cannot commit".to_owned();
        status_of(fleet, 0).records.as_mut().unwrap().problem = "no space".to_owned();
        status_of(fleet, 1).last_renewal.as_mut().unwrap().error = "STORE_UNAVAILABLE".to_owned();
    });
    let text = text(&fleet);
    assert!(text.contains("‼ AV-802"), "{text}");
    // From the workload's renewal over the issuer's store to the disk under it.
    assert!(text.contains("because of AV-702 not shown: AV-202, AV-701\n"), "{text}");
}

#[test]
fn a_workload_that_is_silent_is_judged_by_nothing_else() {
    let fleet = broken(|fleet| {
        fleet.members.truncate(1);
        fleet.members[0].status = None;
        fleet.members[0].policy = None;
        fleet.members[0].edges.clear();
        fleet.members[0].problem = "connection refused".to_owned();
    });
    let levels = levels(&fleet);
    assert_eq!(levels["AV-501"], "bad");
    assert_eq!(levels["AV-401"], "skipped");
    assert!(text(&fleet).contains("because of AV-501 not shown:"), "{}", text(&fleet));
}

#[test]
fn the_same_of_many_is_said_once() {
    let fleet = broken(|fleet| {
        for port in 7100..7105 {
            fleet.members.push(member(ORDERS, &format!("127.0.0.1:{port}")));
        }
        for at in 0..7 {
            status_of(fleet, at).policy.as_mut().unwrap().audit = true;
        }
    });
    let text = text(&fleet);
    assert_eq!(text.matches("some of it lets through").count(), 1, "{text}");
    assert!(text.contains(" and 4 more: some of it lets through"), "{text}");
}

#[test]
fn a_workload_that_tells_no_address_is_noted_unless_it_also_told_one() {
    let without = |id: &str| {
        let mut one = member(id, "");
        one.workload.addresses.clear();
        one.status = None;
        one
    };
    let mut fleet = fleet();
    fleet.members.extend([without(ORDERS), without(REPORTS)]);
    let text = text(&fleet);
    assert!(text.contains(&format!("{REPORTS}: it tells the issuer no address")), "{text}");
    assert!(!text.contains(&format!("{ORDERS}: it tells")), "{text}");
}

#[test]
fn an_empty_fleet_does_not_pass() {
    assert!(!Report::of(&Fleet::default(), &[]).passes());
}

#[test]
fn what_others_say_cannot_move_the_cursor() {
    let hostile = "\x1b[2J\u{9b}31m\r\nAV-101 √\u{202e}".to_owned();
    let fleet = broken(|_| {});
    let mut fleet = Fleet { trust_domain: hostile.clone(), ..fleet };
    fleet.members[0].workload.spiffe_id = hostile.clone();
    fleet.members[0].address = hostile.clone();
    let status = status_of(&mut fleet, 0);
    status.spiffe_id = hostile.clone();
    status.phase = hostile.clone();
    status.trust_stream = hostile.clone();
    status.health_listen = hostile.clone();
    status.last_renewal = Some(Renewal { how: hostile.clone(), at: hostile.clone(), error: hostile.clone() });
    status.policy.as_mut().unwrap().problem = hostile.clone();
    status.policy.as_mut().unwrap().version = hostile.clone();
    status.policy.as_mut().unwrap().unused = vec![hostile.clone(); 3];
    status.listener.as_mut().unwrap().tls_versions = vec![hostile.clone()];
    status.disks[0].path = hostile.clone();
    status.disks[0].problem = hostile.clone();
    status.records.as_mut().unwrap().problem = hostile.clone();
    status.upstreams[0].name = hostile.clone();
    fleet.members[0].edges[0].group = hostile.clone();
    fleet.members[1].status = None;
    fleet.members[1].problem = hostile.repeat(200);
    fleet.operator_problem = hostile;
    let text = text(&fleet);
    assert!(text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() < 2_000), "{text}");
}

#[test]
fn the_time_that_asking_takes_is_no_difference_between_clocks() {
    let later = broken(|fleet| {
        status_of(fleet, 0).now = "2026-11-25T12:01:30.000Z".to_owned();
        status_of(fleet, 1).now = "2026-11-25T12:01:30.000Z".to_owned();
        status_of(fleet, 1).issuer_clock_at.clear();
    });
    assert_eq!(levels(&later)["AV-601"], "good");
}

#[test]
fn numbers_at_their_ends_are_judged_like_any_other() {
    let fleet = broken(|fleet| {
        status_of(fleet, 0).clock_ahead_millis = i64::MIN;
        status_of(fleet, 0).disks[0] = Disk { free_bytes: u64::MAX, total_bytes: 0, ..Disk::default() };
        status_of(fleet, 1).disks[0] =
            Disk { free_bytes: u64::MAX, total_bytes: u64::MAX, ..Disk::default() };
        status_of(fleet, 1).svid.as_mut().unwrap().not_before = "9999-12-31T23:59:59Z".to_owned();
        fleet.taken_at = "0000-01-01T00:00:00Z".to_owned();
    });
    assert!(text(&fleet).contains("× AV-601"));
}

#[test]
fn categories_and_ids_select_and_anything_else_is_told_what_there_is() {
    assert_eq!("av-202".parse(), Ok(Selection::Id("AV-202")));
    assert_eq!("policy".parse(), Ok(Selection::Category(Category::Policy)));
    for nonsense in ["AV-999", "", "polcy", "certificate"] {
        assert!(nonsense.parse::<Selection>().is_err(), "{nonsense}");
    }
    let fleet = fleet();
    let json = Report::of(&fleet, &[Selection::Category(Category::Clock)]).to_json();
    assert_eq!(json["checks"].as_array().unwrap().len(), 2);
}

#[test]
fn people_read_this() {
    let fleet = broken(|fleet| {
        status_of(fleet, 0).last_renewal.as_mut().unwrap().error =
            "NO_MATCHING_ENTRY: no entry matches".to_owned();
        svid(fleet, "2026-11-25T12:01:00Z");
        status_of(fleet, 1).policy.as_mut().unwrap().tests = 0;
        status_of(fleet, 1).health_listen = "0.0.0.0:7101".to_owned();
    });
    crate::golden::compare("check.txt", &text(&fleet));
    let json = Report::of(&fleet, &[Selection::Category(Category::Identity)]).to_json();
    crate::golden::compare("check.json", &format!("{json:#}\n"));
}
