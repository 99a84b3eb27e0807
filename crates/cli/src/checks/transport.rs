//! Checks of transport: whether every process can be asked, and whether the listeners are strict enough.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{Process, View, shown};
use avouch_fleet::Member;
use avouch_spiffe::HostPort;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The key exchange groups that protect recorded traffic against a future quantum computer.
const HYBRID: &str = "X25519MLKEM768";
const TLS13: &str = "TLSv1_3";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-501",
        category: Category::Transport,
        title: "every workload answers",
        meaning: "A workload that advertised its address to the issuer does not answer there, or refuses to. Nothing \
                  else can be said about it.",
        remedy: "See whether it runs, and whether the address that it advertises can be reached from here. If it \
                 refuses with ROLE_MISSING, its policy gives the identity that asked neither the role `operator` nor \
                 `debug`. If it refuses the handshake, `avouch explain REASON` says what that means.",
        hint: "see whether it runs and can be reached from here; `avouch handshake HOST:PORT` shows each step",
        causes: &["AV-502", "AV-602"],
        judge: answers,
    },
    Check {
        id: "AV-502",
        category: Category::Transport,
        title: "there is an identity to ask workloads with",
        meaning: "Workloads answer only to an identity that their policy gives the role `operator` or `debug`. There \
                  is none here: no directory with one was named, and none could be had from the issuer for this run.",
        remedy: "Register the operator, `avouch entry add spiffe://TRUST-DOMAIN/operator`, and give it the role in the \
                 policy; or name a directory with an identity: --identity DIR.",
        hint: "`avouch entry add spiffe://TRUST-DOMAIN/operator`, or name an identity with --identity DIR",
        causes: &["AV-101", "AV-102"],
        judge: operator,
    },
    Check {
        id: "AV-503",
        category: Category::Transport,
        title: "plain listeners stay on the loopback",
        meaning: "The health port has no TLS and asks for no identity. It tells metrics and readiness to everybody who \
                  reaches it, and it is open to more than the machine itself.",
        remedy: "Let it listen on 127.0.0.1. Where the orchestrator asks from outside (Kubernetes, Compose), it must be \
                 open there: then let a network policy admit only those who ask.",
        hint: "let the health port listen on 127.0.0.1, or fence it with a network policy",
        causes: &[],
        judge: plain,
    },
    Check {
        id: "AV-504",
        category: Category::Transport,
        title: "no session is resumed",
        meaning: "The listener resumes TLS sessions. A resumed session skips the check of the client's certificate, so \
                  a peer could go on after its certificate has ended.",
        remedy: "The listeners of this project never resume. See what else answers at that address.",
        hint: "see what answers there: `avouch handshake HOST:PORT`",
        causes: &[],
        judge: resumption,
    },
    Check {
        id: "AV-505",
        category: Category::Transport,
        title: "TLS 1.3 is the only version",
        meaning: "The listener takes, or a caller has used, a TLS version other than 1.3.",
        remedy: "The listeners of this project offer no other. See what else answers at that address.",
        hint: "see what answers there: `avouch handshake HOST:PORT`",
        causes: &[],
        judge: versions,
    },
    Check {
        id: "AV-506",
        category: Category::Transport,
        title: "keys are exchanged in the hybrid post-quantum group",
        meaning: "Some callers exchange keys in a group that is safe today, but not against somebody who records the \
                  traffic now and has a quantum computer later. This is a note, not a fault.",
        remedy: "Nothing for callers that use this project's library. Others need a TLS library with X25519MLKEM768. \
                 `avouch edges` shows who calls with what.",
        hint: "`avouch edges` shows who calls with what",
        causes: &[],
        judge: groups,
    },
    Check {
        id: "AV-507",
        category: Category::Transport,
        title: "only the issuer admits callers without a certificate",
        meaning: "A workload's listener takes connections without a client certificate. Its policy still judges each \
                  call; but strangers get as far as that.",
        remedy: "Only the issuer needs this, for first contact. Let the workload require a client certificate.",
        hint: "let the workload require a client certificate",
        causes: &[],
        judge: optional,
    },
];

fn answers(view: &View<'_>) -> Vec<Finding> {
    let fleet = view.fleet;
    let cannot: Vec<*const Member> = fleet.unreachable().map(std::ptr::from_ref).collect();
    let members = fleet.members.iter().enumerate();
    members
        .filter_map(|(at, member)| {
            let (level, text) = match (&member.status, member.problem.as_str()) {
                (Some(_), "") => (Level::Good, String::new()),
                (Some(_), problem) => (Level::Warning, format!("it answered in part: {}", shown(problem))),
                (None, _) if member.address.is_empty() => {
                    cannot.contains(&std::ptr::from_ref(member)).then_some(())?;
                    (Level::Note, "it tells the issuer no address, so it cannot be asked".to_owned())
                }
                (None, "") => (Level::Bad, "it was not asked".to_owned()),
                (None, problem) => (Level::Bad, shown(problem)),
            };
            Some(Finding { subject: Subject::Member(at), level, text })
        })
        .collect()
}

fn operator(view: &View<'_>) -> Vec<Finding> {
    let fleet = view.fleet;
    let (level, text) = match (fleet.operator_problem.as_str(), fleet.operator.as_str()) {
        ("", "") => return Vec::new(),
        ("", operator) => (Level::Good, shown(operator)),
        (problem, _) => (Level::Bad, shown(problem)),
    };
    vec![Finding { subject: Subject::Fleet, level, text }]
}

fn plain(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let listen = process.status.health_listen.as_str();
        (!listen.is_empty()).then(|| match is_loopback(listen) {
            true => (Level::Good, String::new()),
            false => (Level::Warning, format!("the health port listens on {}", shown(listen))),
        })
    })
}

/// Whether only this machine reaches the listener; a name other than `localhost` may mean anything.
fn is_loopback(listen: &str) -> bool {
    match listen.parse::<HostPort>() {
        Ok(address) => address.is_loopback(),
        Err(_) => listen.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
    }
}

fn resumption(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        Some(match process.status.listener.as_ref()?.resumption {
            false => (Level::Good, String::new()),
            true => (Level::Bad, "sessions are resumed".to_owned()),
        })
    })
}

fn versions(view: &View<'_>) -> Vec<Finding> {
    let used = by_member(view, |edge| &edge.tls_version);
    view.each(|process| {
        let offered = process.status.listener.as_ref()?.tls_versions.iter().map(String::as_str);
        let offered: BTreeSet<_> = offered.filter(|version| *version != TLS13).collect();
        let used = others(&used, process, TLS13);
        Some(match (offered.is_empty(), used.is_empty()) {
            (true, true) => (Level::Good, String::new()),
            (false, _) => (Level::Bad, format!("it offers {}", list(&offered))),
            (true, false) => (Level::Bad, format!("callers used {}", list(&used))),
        })
    })
}

fn groups(view: &View<'_>) -> Vec<Finding> {
    let used = by_member(view, |edge| &edge.group);
    view.each_workload(|process| {
        let Subject::Member(at) = process.subject else { return None };
        used.get(&at)?;
        let others = others(&used, process, HYBRID);
        Some(match others.is_empty() {
            true => (Level::Good, String::new()),
            false => (Level::Note, format!("callers used {}", list(&others))),
        })
    })
}

/// The versions or groups that callers have used, by member.
fn by_member<'a>(
    view: &View<'a>,
    of: impl Fn(&'a avouch_api::observe::v1::Edge) -> &'a str,
) -> BTreeMap<usize, BTreeSet<&'a str>> {
    let mut used: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (at, member) in view.fleet.members.iter().enumerate() {
        let known = member.edges.iter().map(&of).filter(|used| !used.is_empty());
        for one in known {
            used.entry(at).or_default().insert(one);
        }
    }
    used
}

fn others<'a>(
    used: &BTreeMap<usize, BTreeSet<&'a str>>,
    process: &Process<'_>,
    wanted: &str,
) -> BTreeSet<&'a str> {
    let Subject::Member(at) = process.subject else { return BTreeSet::new() };
    used.get(&at).into_iter().flatten().copied().filter(|used| *used != wanted).collect()
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ")
}

fn optional(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        Some(match process.status.listener.as_ref()?.optional_client_certificate {
            false => (Level::Good, String::new()),
            true => (Level::Bad, "it admits callers without a certificate".to_owned()),
        })
    })
}
