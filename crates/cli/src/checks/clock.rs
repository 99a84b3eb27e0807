//! Do the clocks agree well enough for certificates that live for minutes?

use super::view::Process;
use super::{Category, Check, Finding, Level, Subject, View};
use crate::timespan;
use std::time::{Duration, SystemTime};

/// SVIDs are dated back by this much; beyond it a peer refuses what was just issued.
const BAD: Duration = Duration::from_secs(30);
/// Far more than clocks that are set by the network differ.
const WARNING: Duration = Duration::from_secs(5);
/// The issuer's answer comes in within this time, so that much says nothing about clocks.
const GATHERING: Duration = Duration::from_secs(15);
/// Asking everybody takes no longer than this, even where many keep silent.
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
        // The measurement is exact, and may be old: a clock that jumped since shows only in the other.
        let (ahead, difference) = match (measured(process), seen(view, process)) {
            (Some((_, measured)), Some((ahead, seen))) if seen > measured + BAD => (ahead, seen),
            (Some(measured), _) => measured,
            (None, Some(seen)) => seen,
            (None, None) => return None,
        };
        Some((level(difference, WARNING), words(ahead, difference)))
    })
}

fn level(difference: Duration, warning: Duration) -> Level {
    match difference {
        difference if difference >= BAD => Level::Bad,
        difference if difference >= warning => Level::Warning,
        _ => Level::Good,
    }
}

fn words(ahead: bool, difference: Duration) -> String {
    let side = if ahead { "ahead of" } else { "behind" };
    let amount = match difference.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => timespan::display(difference),
    };
    format!("{amount} {side} the issuer's")
}

/// By the workload's own measurement.
fn measured(process: &Process<'_>) -> Option<(bool, Duration)> {
    let status = process.status;
    if status.issuer_clock_at.is_empty() {
        return None;
    }
    let difference = Duration::from_millis(status.clock_ahead_millis.unsigned_abs());
    Some((status.clock_ahead_millis >= 0, difference))
}

/// By what both said when they were asked. Only so much of it as cannot come from the time that asking took: the issuer
/// is asked first, and whoever was asked after it seems to be ahead by that time.
fn seen(view: &View<'_>, process: &Process<'_>) -> Option<(bool, Duration)> {
    let (ahead, apart) = difference(process.now()?, view.issuer_process()?.now()?);
    let explained = if ahead { ASKING } else { Duration::ZERO };
    Some((ahead, apart.saturating_sub(explained)))
}

fn difference(this: SystemTime, other: SystemTime) -> (bool, Duration) {
    match this.duration_since(other) {
        Ok(ahead) => (true, ahead),
        Err(behind) => (false, behind.duration()),
    }
}

fn here(view: &View<'_>) -> Vec<Finding> {
    let issuer = view.issuer_process().and_then(|process| process.now());
    let (Some(issuer), Some(here)) = (issuer, view.taken_at()) else { return Vec::new() };
    let (ahead, difference) = difference(here, issuer);
    let level = level(difference, GATHERING);
    let text = match level {
        Level::Good => String::new(),
        _ => words(ahead, difference),
    };
    vec![Finding { subject: Subject::Fleet, level, text }]
}
