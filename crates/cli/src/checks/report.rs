//! The report of all checks of a fleet, in which the symptoms of a root cause are hidden behind it.
//!
//! Invariant: hiding changes what is shown, never the verdict. A hidden failure still counts as a failure.

use super::catalogue::catalogue;
use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::selection::Selection;
use super::view::{View, name};
use crate::output::{Colour, Page, paragraph};
use avouch_fleet::Fleet;
use avouch_text::clean;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most subjects of one check that are listed for people; programs get all.
const LISTED: usize = 10;
/// The most of them that are named where all have the same finding.
const NAMED: usize = 3;

/// The verdicts of all selected checks on one fleet.
pub(crate) struct Report<'a> {
    fleet: &'a Fleet,
    results: Vec<CheckResult>,
}

struct CheckResult {
    check: &'static Check,
    findings: Vec<Judged>,
    /// The check whose failure is the reason that there is no finding.
    skipped_for: Option<&'static str>,
}

struct Judged {
    finding: Finding,
    subject: String,
    /// The check that is the root cause, behind which this one is hidden.
    because_of: Option<&'static str>,
}

/// The number of checks with each result.
#[derive(Default)]
struct Counts {
    bad: usize,
    warning: usize,
    good: usize,
    hidden: usize,
    skipped: usize,
}

type Findings = BTreeMap<&'static str, Vec<Finding>>;

impl<'a> Report<'a> {
    /// Judges `fleet` by every check, and keeps those of `only`; all if that is empty.
    pub(crate) fn of(fleet: &'a Fleet, only: &[Selection]) -> Self {
        let view = View::new(fleet);
        let found: Findings = catalogue().map(|check| (check.id, (check.judge)(&view))).collect();
        let selected = catalogue().filter(|check| only.is_empty() || only.iter().any(|one| one.takes(check)));
        let results = selected.map(|check| judged(fleet, &found, check)).collect();
        Self { fleet, results }
    }

    /// Whether nothing is bad, hidden or not.
    pub(crate) fn passes(&self) -> bool {
        let mut all = self.results.iter();
        all.all(|result| result.worst() < Some(Level::Bad) && result.skipped_for.is_none())
    }

    /// The ids of what is bad and not hidden.
    pub(crate) fn bad(&self) -> Vec<&'static str> {
        let bad = self.results.iter().filter(|result| result.visible() == Some(Level::Bad));
        bad.map(|result| result.check.id).collect()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for result in &self.results {
            counts.hidden += result.findings.iter().filter(|judged| judged.because_of.is_some()).count();
            match result.visible() {
                Some(Level::Bad) => counts.bad += 1,
                Some(Level::Warning) => counts.warning += 1,
                Some(Level::Good | Level::Note) => counts.good += 1,
                None if result.findings.is_empty() => counts.skipped += 1,
                None => {}
            }
        }
        counts
    }

    /// For people.
    pub(crate) fn to_page(&self, colours: bool) -> Page {
        let mut page = Page::new(colours);
        let mut category = None;
        for result in self.results.iter().filter(|result| result.visible().is_some()) {
            if category.replace(result.check.category) != Some(result.check.category) {
                page.push(&format!("{}\n", result.check.category.name()));
            }
            result.write(&mut page);
        }
        self.write_hidden(&mut page);
        let Counts { bad, warning, good, hidden, skipped } = self.counts();
        page.push(&format!("{bad} ×, {warning} ‼, {good} √"));
        for (count, word) in [(hidden, "hidden"), (skipped, "without anything to look at")] {
            if count > 0 {
                page.push(&format!("; {count} {word}"));
            }
        }
        page.push("\n");
        page
    }

    /// Writes which checks are hidden behind each root cause.
    fn write_hidden(&self, page: &mut Page) {
        let mut hidden: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for result in &self.results {
            for cause in result.findings.iter().filter_map(|judged| judged.because_of) {
                *hidden.entry(cause).or_default().entry(result.check.id).or_default() += 1;
            }
            if let Some(cause) = result.skipped_for {
                hidden.entry(cause).or_default().entry(result.check.id).or_default();
            }
        }
        for (cause, ids) in hidden {
            let count = |(id, count): (&str, usize)| match count {
                0 | 1 => id.to_owned(),
                count => format!("{id} ({count} times)"),
            };
            let ids: Vec<_> = ids.into_iter().map(count).collect();
            page.push(&paragraph(&format!("because of {cause} not shown: "), &ids.join(", ")));
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let Counts { bad, warning, good, hidden, skipped } = self.counts();
        json!({
            "ok": self.passes(),
            "taken_at": self.fleet.taken_at,
            "trust_domain": self.fleet.trust_domain,
            "counts": {
                "bad": bad, "warning": warning, "good": good, "hidden": hidden, "skipped": skipped,
            },
            "checks": self.results.iter().map(CheckResult::to_json).collect::<Vec<_>>(),
        })
    }
}

impl CheckResult {
    fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|judged| judged.finding.level).max()
    }

    /// The worst of what is shown; none if all is hidden, or there is nothing.
    fn visible(&self) -> Option<Level> {
        let shown = self.findings.iter().filter(|judged| judged.because_of.is_none());
        shown.map(|judged| judged.finding.level).max()
    }

    fn write(&self, page: &mut Page) {
        let Some(level) = self.visible() else { return };
        let Check { id, title, hint, .. } = self.check;
        page.push("  ");
        page.paint(colour(level), &level.to_string());
        page.push(&format!(" {id}  {title}"));
        let shown: Vec<_> = self.findings.iter().filter(|judged| judged.because_of.is_none()).collect();
        if level == Level::Good {
            page.push(&match shown.as_slice() {
                [one] if !one.finding.text.is_empty() => format!(": {}\n", clean(&one.finding.text)),
                [_] => "\n".to_owned(),
                all => format!(" ({})\n", all.len()),
            });
            return;
        }
        page.push("\n");
        let mut worse = said_together(&shown);
        worse.sort_by_key(|(level, ..)| std::cmp::Reverse(*level));
        for (_, said, subjects) in worse.iter().take(LISTED) {
            page.push(&format!("      {}: {}\n", named(subjects), clean(said)));
        }
        if worse.len() > LISTED {
            page.push(&format!("      and {} more, which --json lists\n", worse.len() - LISTED));
        }
        if level > Level::Note {
            page.push(&format!("      → {hint}; more: `avouch explain {id}`\n"));
        }
    }

    fn to_json(&self) -> Value {
        let Check { id, category, title, hint, .. } = self.check;
        let level = match (self.visible(), self.findings.is_empty()) {
            (Some(level), _) => json!(level),
            (None, true) => json!("skipped"),
            (None, false) => json!("hidden"),
        };
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|judged| {
                json!({
                    "subject": judged.subject, "level": judged.finding.level, "text": judged.finding.text,
                    "because_of": judged.because_of,
                })
            })
            .collect();
        json!({
            "id": id, "category": category, "title": title, "level": level, "hint": hint,
            "because_of": self.skipped_for, "findings": findings,
        })
    }
}

fn colour(level: Level) -> Colour {
    match level {
        Level::Good | Level::Note => Colour::Green,
        Level::Warning => Colour::Yellow,
        Level::Bad => Colour::Red,
    }
}

/// The findings that are not good, each with all subjects of which the same is said.
fn said_together<'a>(shown: &[&'a Judged]) -> Vec<(Level, &'a str, Vec<&'a str>)> {
    let mut said: Vec<(Level, &str, Vec<&str>)> = Vec::new();
    for Judged { finding, subject, .. } in shown.iter().filter(|judged| judged.finding.level > Level::Good) {
        let same = said.iter_mut().find(|(level, text, _)| *level == finding.level && *text == finding.text);
        match same {
            Some((.., subjects)) => subjects.push(subject),
            None => said.push((finding.level, &finding.text, vec![subject])),
        }
    }
    said
}

fn named(subjects: &[&str]) -> String {
    let names = subjects.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match subjects.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

fn judged(fleet: &Fleet, found: &Findings, check: &'static Check) -> CheckResult {
    let findings = found.get(check.id).map(Vec::as_slice).unwrap_or_default();
    let skipped_for = findings.is_empty().then(|| cause_of_silence(found, check)).flatten();
    let judge = |finding: &Finding| Judged {
        subject: name(fleet, finding.subject),
        because_of: root(found, check, finding.subject, finding.level),
        finding: finding.clone(),
    };
    CheckResult { check, findings: findings.iter().map(judge).collect(), skipped_for }
}

/// The check at the end of the chain of causes of a failure; none if the failure stands for itself. A cause must be at
/// least as bad as what it is to explain.
fn root(found: &Findings, check: &Check, subject: Subject, level: Level) -> Option<&'static str> {
    if level < Level::Warning {
        return None;
    }
    causes(check).find_map(|cause| {
        let failures = found.get(cause.id).map(Vec::as_slice).unwrap_or_default().iter();
        let mut failures = failures.filter(|failure| failure.level >= level);
        let failure = failures.find(|failure| reaches(cause, failure.subject, subject))?;
        Some(root(found, cause, failure.subject, failure.level).unwrap_or(cause.id))
    })
}

fn causes(check: &Check) -> impl Iterator<Item = &'static Check> {
    check.causes.iter().filter_map(|id| catalogue().find(|check| check.id == *id))
}

/// Whether a failure of `failed` explains a failure of `subject`: it is of the whole fleet, of the same process, or of
/// a service of the issuer.
fn reaches(cause: &Check, failed: Subject, subject: Subject) -> bool {
    let of_service = cause.category == Category::Issuer || cause.id == "AV-701";
    failed == subject || failed == Subject::Fleet || (failed == Subject::Issuer && of_service)
}

/// Why a check had nothing to look at: one of its causes failed, or those it asks about could not be asked.
fn cause_of_silence(found: &Findings, check: &Check) -> Option<&'static str> {
    let askable = ["AV-101", "AV-501"].iter().filter_map(|id| catalogue().find(|check| check.id == *id));
    causes(check).chain(askable).find_map(|cause| {
        let failures = found.get(cause.id).map(Vec::as_slice).unwrap_or_default().iter();
        let failure =
            failures.max_by_key(|failure| failure.level).filter(|failure| failure.level == Level::Bad)?;
        Some(root(found, cause, failure.subject, failure.level).unwrap_or(cause.id))
    })
}
