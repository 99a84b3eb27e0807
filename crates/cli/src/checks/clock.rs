//! Checks of the clocks: whether they agree well enough for certificates that live for minutes.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{Process, View};
use crate::clocks::ClockOffset;
use std::time::Duration;

/// The offset from which the check fails: SVIDs are backdated by this much, and beyond it a peer rejects a certificate
/// that was just issued.
const BAD: Duration = Duration::from_secs(30);
/// The offset from which the check warns: far more than between clocks that are synchronized by NTP.
const WARNING: Duration = Duration::from_secs(5);
/// The offset of this machine that says nothing about clocks: the issuer's answer comes in within this time.
const GATHERING: Duration = Duration::from_secs(15);
/// The longest that asking everybody takes, even where many keep silent.
const ASKING: Duration = Duration::from_secs(120);

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-601",
        category: Category::Clock,
        title: "the workloads' clocks agree with the issuer's",
        meaning: "A workload measures its clock against the issuer's on the trust stream. From 5 seconds on the \
                  difference is a warning. From 30 seconds on it is bad: SVIDs are dated back by no more, so \
                  certificates are refused as CERT_NOT_YET_VALID or CERT_EXPIRED by one side although they are good \
                  by the other's clock.",
        remedy: "Have the machine's clock set by the network (chronyc tracking, timedatectl status). A container has \
                 the clock of its host. Nothing needs a restart.",
        hint: "set that machine's clock; see `timedatectl status` there",
        causes: &[],
        judge: workloads,
    },
    Check {
        id: "AV-602",
        category: Category::Clock,
        title: "this machine's clock agrees with the issuer's",
        meaning: "The clock of the machine that ran this command differs from the issuer's. Dates are then judged \
                  wrongly here, and workloads may refuse to answer, or seem to be other than they are.",
        remedy: "Set this machine's clock. If this machine is right, all workloads show a difference as well \
                 (AV-601), and the issuer's clock is to be set.",
        hint: "set this machine's clock; see `timedatectl status`",
        causes: &["AV-101"],
        judge: here,
    },
];

fn workloads(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        // The measurement on the trust stream is exact but may be old: a clock that jumped since then shows only in the
        // other offset.
        let offset = match (ClockOffset::measured(process.status), seen(view, process)) {
            (Some(measured), Some(seen)) if seen.amount > measured.amount + BAD => seen,
            (measured, seen) => measured.or(seen)?,
        };
        Some((level(offset, WARNING), offset.to_string()))
    })
}

fn level(offset: ClockOffset, warning: Duration) -> Level {
    match offset.amount {
        amount if amount >= BAD => Level::Bad,
        amount if amount >= warning => Level::Warning,
        _ => Level::Good,
    }
}

/// The offset by what both said when they were asked. Only so much of it as cannot come from the time that asking took:
/// the issuer is asked first, and whoever was asked after it seems to be ahead by that time.
fn seen(view: &View<'_>, process: &Process<'_>) -> Option<ClockOffset> {
    let offset = ClockOffset::between(process.now()?, view.issuer_process()?.now()?);
    let explained = if offset.is_ahead { ASKING } else { Duration::ZERO };
    Some(ClockOffset { amount: offset.amount.saturating_sub(explained), ..offset })
}

fn here(view: &View<'_>) -> Vec<Finding> {
    let issuer = view.issuer_process().and_then(|process| process.now());
    let (Some(issuer), Some(here)) = (issuer, view.taken_at()) else { return Vec::new() };
    let offset = ClockOffset::between(here, issuer);
    let level = level(offset, GATHERING);
    let text = if level == Level::Good { String::new() } else { offset.to_string() };
    vec![Finding { subject: Subject::Fleet, level, text }]
}
