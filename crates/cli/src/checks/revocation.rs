//! Checks of revocation: whether every process refuses what was revoked, and whether a key is in two hands.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{Process, View, shown};
use avouch_api::observe::v1::{Issuer, TrustState};
use avouch_fleet::ForkRecord;
use avouch_spiffe::trust_state::MAX_REVOCATIONS;
use avouch_time::duration::rounded;
use avouch_time::parse_rfc3339;
use std::time::{Duration, SystemTime};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-304",
        category: Category::Trust,
        title: "every process has the issuer's trust state",
        meaning: "A process uses an earlier generation of the trust state than the issuer gives out: it may accept who has \
                  been revoked since. A new generation arrives within a second, so that less than five seconds are only \
                  noted; after that it is bad where anything is revoked, else a warning.",
        remedy: "The state comes over the trust stream: see AV-302. Until it has come, the process accepts what was \
                 revoked for as long as that certificate lives: if it cannot be reached, stop it.",
        hint: "see whether its trust stream is up; if it cannot be reached, stop it",
        causes: &["AV-303", "AV-302", "AV-307", "AV-101"],
        judge: generation,
    },
    Check {
        id: "AV-305",
        category: Category::Trust,
        title: "an outage of the issuer can be survived",
        meaning: "The stream from the issuer is down, and the process's own SVID has less than a third of its life or less \
                  than a minute left. If the issuer stays away until it ends, every call of and to the process fails.",
        remedy: "Bring the issuer back, or the way there: AV-101, AV-302. Longer lives (`--ttl` of `avouch entry add`) are a \
                 longer time to do it in.",
        hint: "bring the issuer back before that time is over: `avouch check --only issuer`",
        causes: &[],
        judge: outage,
    },
    Check {
        id: "AV-306",
        category: Category::Trust,
        title: "every process keeps the trust state on disk",
        meaning: "The trust state could not be read from or written to the process's directory. It is used all the same; but \
                  if the process starts again while the issuer is away, it does not know what was revoked.",
        remedy: "Free space there or correct the directory's owner and mode (AV-702). The next change of the trust state is \
                 written again by itself.",
        hint: "look at the process's state_dir: `df -h PATH`, `ls -ld PATH`",
        causes: &["AV-702"],
        judge: kept,
    },
    Check {
        id: "AV-307",
        category: Category::Trust,
        title: "every process knows revocations",
        meaning: "A process is of an older version: it takes trust bundles from the issuer and no revocations. Until its peer's \
                  certificate ends it accepts who has been revoked; new certificates it does not see, since nothing is \
                  issued to them.",
        remedy: "Update the process: docs/operations/upgrade.md.",
        hint: "update the process",
        causes: &[],
        judge: knows,
    },
    Check {
        id: "AV-308",
        category: Category::Trust,
        title: "there is room for revocations",
        meaning: "The trust state holds a bounded number of revocations in force. From 80 % on it is a warning, from 95 % on \
                  it is bad: beyond the bound the issuer refuses to revoke more.",
        remedy: "Undo what nobody needs any more: `avouch revocations`, `avouch revoke --undo ID`. Of certificates each ends by \
                 itself with the certificate: one revocation of the identity takes the place of many of its certificates.",
        hint: "undo what nobody needs any more: `avouch revocations`",
        causes: &[],
        judge: room,
    },
    Check {
        id: "AV-309",
        category: Category::Trust,
        title: "no revocation was lost with a restore",
        meaning: "The issuer was restored from a backup. It learns from the workloads what was revoked after that; of some \
                  changes neither the backup nor any workload tells, so that somebody who had been revoked may not be.",
        remedy: "Compare `avouch revocations` with what was done before the restore (logs, tickets), and revoke again what is \
                 missing. Workloads that come back return what they hold.",
        hint: "compare `avouch revocations` with what was done before the restore, and revoke again",
        causes: &[],
        judge: lost,
    },
    Check {
        id: "AV-310",
        category: Category::Trust,
        title: "no key is in two hands",
        meaning: "A certificate was renewed or recovered with two different keys. The retries of one workload use one key, so \
                  its key was copied, or its machine or directory was cloned: a thief and the rightful owner each hold a \
                  branch.",
        remedy: "Find out which branch is the rightful owner's (address, `avouch whois SERIAL`) and revoke the other one: its \
                 descendants and the copied certificate go with it, the owner's branch stays. If neither can be told, \
                 revoke the certificate that both came from, and let the workload join again. docs/operations/runbooks.md, \
                 `compromised`.",
        hint: "revoke the branch that is not the owner's, then see how the key was copied",
        causes: &[],
        judge: forks,
    },
];

/// The time within which a new generation arrives: nobody is behind for that long.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// The time that an operator needs to do anything.
const SHORT: i64 = 60;

/// The issuer's generation; none: it is of an older version.
fn of_issuer(issuer: &Issuer) -> Option<(u32, u32)> {
    (issuer.epoch != 0).then_some((issuer.epoch, issuer.counter))
}

/// The trust state of a process, if it follows the issuer and knows generations.
fn state<'a>(process: &Process<'a>) -> Option<&'a TrustState> {
    process.status.trust.as_ref().filter(|state| state.epoch != 0)
}

fn generation(view: &View<'_>) -> Vec<Finding> {
    let Some(issuer) = view.issuer() else { return Vec::new() };
    let Some(newest) = of_issuer(issuer) else { return Vec::new() };
    let now = view.issuer_process().and_then(|process| process.now());
    view.each_workload(|process| {
        let state = state(process)?;
        let used = (state.epoch, state.counter);
        if used >= newest {
            return Some((Level::Good, String::new()));
        }
        let since = behind_since(view, issuer, used);
        let behind = now.zip(since).map(|(now, since)| now.duration_since(since).unwrap_or_default());
        let level = match behind {
            Some(behind) if behind < ON_ITS_WAY => Level::Note,
            _ if issuer.revocations > 0 => Level::Bad,
            _ => Level::Warning,
        };
        let for_ = behind.map(|behind| format!(", for {}", rounded(behind))).unwrap_or_default();
        Some((
            level,
            format!("generation {}.{}, the issuer has {}.{}{for_}", used.0, used.1, newest.0, newest.1),
        ))
    })
}

/// The time of the first change that a process does not know: of the first revocation after its generation or, where the
/// issuer has started again since, of that start. Where neither is known, of the last change.
fn behind_since(view: &View<'_>, issuer: &Issuer, used: (u32, u32)) -> Option<SystemTime> {
    let process = issuer.process.as_ref();
    let unknown = view.fleet.revocations.iter().filter(|one| (one.epoch, one.counter) > used);
    let started = process.filter(|_| used.0 < issuer.epoch).map(|process| process.started_at.as_str());
    let first = unknown.map(|one| one.created_at.as_str()).chain(started).filter_map(parse_rfc3339).min();
    first.or_else(|| parse_rfc3339(&process?.trust.as_ref()?.since))
}

fn outage(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        let state = state(process)?;
        let left = state.outage_budget_seconds;
        if process.status.trust_stream == "up" {
            return Some((Level::Good, String::new()));
        }
        let life = process.status.svid.as_ref().and_then(|svid| {
            let (from, to) = (parse_rfc3339(&svid.not_before)?, parse_rfc3339(&svid.not_after)?);
            i64::try_from(to.duration_since(from).ok()?.as_secs()).ok()
        });
        let text = match u64::try_from(left) {
            Ok(left) => format!("{} are left", rounded(Duration::from_secs(left))),
            Err(_) => "its SVID has ended".to_owned(),
        };
        let short = left < SHORT || life.is_some_and(|life| left < life / 3);
        Some(if short { (Level::Warning, text) } else { (Level::Note, text) })
    })
}

fn kept(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        let state = process.status.trust.as_ref()?;
        Some(match state.problem.as_str() {
            "" => (Level::Good, String::new()),
            problem => (Level::Warning, shown(problem)),
        })
    })
}

fn knows(view: &View<'_>) -> Vec<Finding> {
    // An issuer of an older version tells nobody a generation.
    if view.issuer().and_then(of_issuer).is_none() {
        return Vec::new();
    }
    view.each_workload(|process| {
        let follows = !matches!(process.status.trust_stream.as_str(), "none" | "");
        follows.then(|| match process.status.trust {
            Some(_) => (Level::Good, String::new()),
            None => (Level::Warning, format!("version {}", shown(&process.status.version))),
        })
    })
}

fn of_issuer_alone(view: &View<'_>, judge: impl Fn(&Issuer) -> (Level, String)) -> Vec<Finding> {
    let Some(issuer) = view.issuer().filter(|issuer| of_issuer(issuer).is_some()) else { return Vec::new() };
    let (level, text) = judge(issuer);
    vec![Finding { subject: Subject::Issuer, level, text }]
}

fn room(view: &View<'_>) -> Vec<Finding> {
    of_issuer_alone(view, |issuer| {
        let most = u64::try_from(MAX_REVOCATIONS).unwrap_or(u64::MAX);
        let text = format!("{} of {most} are in force", issuer.revocations);
        match issuer.revocations.saturating_mul(100).checked_div(most).unwrap_or(100) {
            95.. => (Level::Bad, text),
            80..95 => (Level::Warning, text),
            _ => (Level::Good, text),
        }
    })
}

fn lost(view: &View<'_>) -> Vec<Finding> {
    of_issuer_alone(view, |issuer| match issuer.lost_changes {
        0 => (Level::Good, String::new()),
        lost => (Level::Warning, format!("of {lost} changes before the restore nobody tells")),
    })
}

fn forks(view: &View<'_>) -> Vec<Finding> {
    let found = view.fleet.forks.iter().map(|fork| (Level::Bad, branches(fork)));
    let found: Vec<_> =
        found.map(|(level, text)| Finding { subject: Subject::Issuer, level, text }).collect();
    if !found.is_empty() {
        return found;
    }
    of_issuer_alone(view, |issuer| match issuer.open_forks {
        0 => (Level::Good, String::new()),
        open => (Level::Bad, format!("{open} certificates were renewed with two keys")),
    })
}

/// The fork, with the command that revokes each of its branches.
fn branches(fork: &ForkRecord) -> String {
    let mut text = format!(
        "{} of {} was renewed with two keys ({})",
        shown(&fork.serial),
        shown(&fork.spiffe_id),
        shown(&fork.noticed_at)
    );
    for branch in &fork.branches {
        let from = match branch.peer_address.as_str() {
            "" => "from an unknown address",
            address => &format!("from {}", shown(address)),
        };
        text.push_str(&format!(
            "; the branch {from}: `avouch revoke serial:{}`",
            shown(&branch.certificate.serial)
        ));
    }
    text + &format!("; both: `avouch revoke serial:{}`", shown(&fork.serial))
}
