//! Checks of storage: whether the state that must be persisted can be written.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{View, shown};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-701",
        category: Category::Storage,
        title: "the issuer's store works",
        meaning: "The issuer could not use its store when it was asked. A certificate that cannot be put on record is \
                  not handed out: workloads get STORE_UNAVAILABLE, and no SVID is renewed.",
        remedy: "Free space on the issuer's disk, or give its user the right to write there; the issuer goes on by \
                 itself. If the database is damaged: docs/operations/backup.md.",
        hint: "look at the issuer's disk: `df -h`, and its log",
        causes: &["AV-702"],
        judge: store,
    },
    Check {
        id: "AV-702",
        category: Category::Storage,
        title: "disks have room and can be written",
        meaning: "A directory that a process writes to has little room left (below 10 % is a warning, below 2 % is \
                  bad), or cannot be written. What is lost first are records and, at the issuer, renewals.",
        remedy: "Free space, or correct the directory's owner and mode; the process goes on by itself.",
        hint: "free space or correct the rights there: `df -h PATH`, `ls -ld PATH`",
        causes: &[],
        judge: disks,
    },
];

fn store(view: &View<'_>) -> Vec<Finding> {
    let Some(issuer) = view.issuer() else { return Vec::new() };
    let (level, text) = match issuer.store_problem.as_str() {
        "" => (Level::Good, String::new()),
        problem => (Level::Bad, shown(problem)),
    };
    vec![Finding { subject: Subject::Issuer, level, text }]
}

fn disks(view: &View<'_>) -> Vec<Finding> {
    let all = view.processes().flat_map(|process| {
        process.status.disks.iter().map(move |disk| {
            let path = shown(&disk.path);
            let percent =
                (u128::from(disk.free_bytes) * 100).checked_div(u128::from(disk.total_bytes)).unwrap_or(100);
            let (level, text) = match percent {
                _ if !disk.problem.is_empty() => (Level::Bad, format!("{path}: {}", shown(&disk.problem))),
                0..2 => (Level::Bad, format!("{path}: {percent} % free")),
                2..10 => (Level::Warning, format!("{path}: {percent} % free")),
                _ => (Level::Good, String::new()),
            };
            Finding { subject: process.subject, level, text }
        })
    });
    all.collect()
}
