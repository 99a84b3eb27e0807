//! Checks of the issuer: whether it answers, serves, and has authorities that are valid for long enough.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{View, life, shown};
use avouch_api::observe::v1::Authority;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-101",
        category: Category::Issuer,
        title: "the issuer answers",
        meaning: "The issuer's administration socket was asked, and there was no answer. Calls between workloads go \
                  on as long as their SVIDs live; nothing is issued or renewed meanwhile, and nobody hears of new \
                  roots.",
        remedy: "Start the issuer with `avouch-issuer --config issuer.toml`, and read its first log lines if it does \
                 not stay. If it runs, run this command as its user or as root, and name its socket with \
                 --socket PATH or AVOUCH_ADMIN_SOCKET.",
        hint: "start it with `avouch-issuer --config issuer.toml`, or name its socket with --socket PATH",
        causes: &[],
        judge: answers,
    },
    Check {
        id: "AV-102",
        category: Category::Issuer,
        title: "the issuer is ready",
        meaning: "The issuer runs and does not serve: it is starting, it is stopping, or its store or its authority \
                  keeps it from serving.",
        remedy: "Wait some seconds. If it stays so, its log says what it waits for.",
        hint: "wait for it with `avouch check --wait 30s`, then read its log",
        causes: &["AV-101", "AV-701"],
        judge: ready,
    },
    Check {
        id: "AV-103",
        category: Category::Issuer,
        title: "the signing authority has life left",
        meaning: "The authority that signs SVIDs is renewed by itself, with the root's key, at half of its life. Below \
                  half it is noted, below 25 % it is a warning, below 10 % it counts as bad: an SVID cannot live \
                  longer than what signed it, and when the authority ends every workload ends with it.",
        remedy: "See in the issuer's log why it was not renewed. The issuer needs the root's key for it; where that \
                 is kept elsewhere, give it back for the renewal. docs/operations/runbooks.md, `rotate`, has each step.",
        hint: "see in the issuer's log why the authority was not renewed",
        causes: &["AV-101", "AV-602"],
        judge: signing,
    },
    Check {
        id: "AV-104",
        category: Category::Issuer,
        title: "the roots have life left",
        meaning: "A root in the trust bundle nears its end. It is not replaced by itself. Below half of its life it is \
                  noted, below 25 % it is a warning, below 10 % it counts as bad. When it ends, nothing that it vouches \
                  for is trusted any more.",
        remedy: "Plan the change of the root: docs/operations/runbooks.md, `rotate`. `avouch bundle show` has the dates.",
        hint: "look at the dates with `avouch bundle show`, and plan the change of the root",
        causes: &["AV-101", "AV-602"],
        judge: roots,
    },
];

fn answers(view: &View<'_>) -> Vec<Finding> {
    let fleet = view.fleet;
    let finding = |level, text| vec![Finding { subject: Subject::Issuer, level, text }];
    match view.issuer() {
        Some(_) if !fleet.issuer_problem.is_empty() => {
            finding(Level::Warning, format!("it answered in part: {}", shown(&fleet.issuer_problem)))
        }
        Some(issuer) => finding(
            Level::Good,
            format!("{} entries, {} live certificates", issuer.entries, issuer.certificates),
        ),
        None if fleet.issuer_problem.is_empty() => finding(Level::Bad, "it was not asked".to_owned()),
        None => finding(Level::Bad, shown(&fleet.issuer_problem)),
    }
}

fn ready(view: &View<'_>) -> Vec<Finding> {
    let Some(process) = view.issuer_process() else { return Vec::new() };
    let phase = process.status.phase.as_str();
    let (level, text) = match phase {
        "serving" => (Level::Good, String::new()),
        "" => (Level::Warning, "it does not say whether it serves".to_owned()),
        other => (Level::Bad, format!("it is {}", shown(other))),
    };
    vec![Finding { subject: Subject::Issuer, level, text }]
}

fn signing(view: &View<'_>) -> Vec<Finding> {
    let Some(issuer) = view.issuer() else { return Vec::new() };
    let Some(authority) = issuer.signing.first() else {
        let text = "it has none, so it can issue nothing".to_owned();
        return vec![Finding { subject: Subject::Issuer, level: Level::Bad, text }];
    };
    authority_life(view, authority)
}

fn roots(view: &View<'_>) -> Vec<Finding> {
    let bundle = view.issuer_process().and_then(|process| process.status.bundle.as_ref());
    let Some(bundle) = bundle else { return Vec::new() };
    bundle.roots.iter().flat_map(|root| authority_life(view, root)).collect()
}

fn authority_life(view: &View<'_>, authority: &Authority) -> Vec<Finding> {
    let now = view.issuer_process().and_then(|process| process.now());
    let (level, text) = match life(&authority.not_before, &authority.not_after, now, 50) {
        Some((level, text)) => (level, format!("{}: {text}", shown(&authority.subject))),
        None => (Level::Bad, format!("{}: its dates cannot be read", shown(&authority.subject))),
    };
    vec![Finding { subject: Subject::Issuer, level, text }]
}
