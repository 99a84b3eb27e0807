//! A view of a fleet for the checks: which processes answered, the time by their clocks, and texts for remaining
//! lifetimes.

use super::finding::{Finding, Level, Subject};
use avouch_api::observe::v1::{Issuer, Status};
use avouch_fleet::{Fleet, Member};
use avouch_text::shorten;
use avouch_time::duration::rounded;
use avouch_time::{parse_rfc3339, relative, rfc3339};
use std::time::{Duration, SystemTime};

/// A fleet, read for judging.
pub(super) struct View<'a> {
    pub(super) fleet: &'a Fleet,
}

/// A process that answered.
pub(super) struct Process<'a> {
    pub(super) subject: Subject,
    pub(super) status: &'a Status,
}

impl<'a> View<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        Self { fleet }
    }

    pub(super) fn issuer(&self) -> Option<&'a Issuer> {
        self.fleet.issuer.as_ref()
    }

    /// The issuer's own process.
    pub(super) fn issuer_process(&self) -> Option<Process<'a>> {
        let status = self.issuer()?.process.as_ref()?;
        Some(Process { subject: Subject::Issuer, status })
    }

    /// The workloads that answered.
    pub(super) fn workloads(&self) -> impl Iterator<Item = Process<'a>> {
        let members = self.fleet.members.iter().enumerate();
        members.filter_map(|(at, member)| {
            Some(Process { subject: Subject::Member(at), status: member.status.as_ref()? })
        })
    }

    /// The issuer and the workloads, of those that answered.
    pub(super) fn processes(&self) -> impl Iterator<Item = Process<'a>> {
        self.issuer_process().into_iter().chain(self.workloads())
    }

    /// Every process that answered, judged.
    pub(super) fn each(&self, judge: impl Fn(&Process<'a>) -> Option<(Level, String)>) -> Vec<Finding> {
        found(self.processes(), judge)
    }

    /// Every workload that answered, judged.
    pub(super) fn each_workload(
        &self,
        judge: impl Fn(&Process<'a>) -> Option<(Level, String)>,
    ) -> Vec<Finding> {
        found(self.workloads(), judge)
    }

    /// The time at which the fleet was asked, by the clock of the machine that asked.
    pub(super) fn taken_at(&self) -> Option<SystemTime> {
        parse_rfc3339(&self.fleet.taken_at)
    }
}

fn found<'a>(
    processes: impl Iterator<Item = Process<'a>>,
    judge: impl Fn(&Process<'a>) -> Option<(Level, String)>,
) -> Vec<Finding> {
    processes
        .filter_map(|process| {
            let (level, text) = judge(&process)?;
            Some(Finding { subject: process.subject, level, text })
        })
        .collect()
}

impl Process<'_> {
    /// The process's own clock.
    pub(super) fn now(&self) -> Option<SystemTime> {
        parse_rfc3339(&self.status.now)
    }
}

/// A subject's name for people.
pub(super) fn name(fleet: &Fleet, subject: Subject) -> String {
    match subject {
        Subject::Fleet => shorten(&fleet.trust_domain),
        Subject::Issuer => "issuer".to_owned(),
        Subject::Member(at) => fleet.members.get(at).map(Member::name).unwrap_or_default(),
    }
}

/// A verdict on dates; below `noted` percent it is worth a note.
pub(super) fn life(
    not_before: &str,
    not_after: &str,
    now: Option<SystemTime>,
    noted: u128,
) -> Option<(Level, String)> {
    let (from, until) = (parse_rfc3339(not_before)?, parse_rfc3339(not_after)?);
    let now = now?;
    let whole = until.duration_since(from).unwrap_or_default();
    let Ok(left) = until.duration_since(now) else {
        return Some((Level::Bad, format!("it ended {}, {}", relative(until, now), rfc3339(until))));
    };
    if from > now {
        let start = relative(from, now);
        return Some((Level::Bad, format!("it is not valid yet by the clock there; it starts {start}")));
    }
    let percent = percent(left, whole);
    let level = match percent {
        0..10 => Level::Bad,
        10..25 => Level::Warning,
        percent if percent < noted => Level::Note,
        _ => Level::Good,
    };
    Some((level, format!("{percent} % of its life is left; it ends in {}", rounded(left))))
}

fn percent(part: Duration, whole: Duration) -> u128 {
    (part.as_millis() * 100).checked_div(whole.as_millis()).unwrap_or_default().min(100)
}

/// Text from another process, made safe to print.
pub(super) fn shown(text: &str) -> String {
    shorten(text)
}
