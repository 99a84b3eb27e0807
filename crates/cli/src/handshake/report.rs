//! The steps as they are shown.

use super::advice;
use super::ending::{Broken, Ending};
use crate::inspect::{Check, Inspection};
use crate::output;
use avouch_text::shorten_to;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A step that was taken.
#[derive(Debug)]
pub(super) struct Step {
    name: &'static str,
    /// `None`: nothing was judged.
    ok: Option<bool>,
    took: Option<Duration>,
    lines: Vec<String>,
    checks: Vec<Check>,
}

impl Step {
    /// One that went well and took time.
    pub(super) fn done(name: &'static str, started: Instant, words: String) -> Self {
        let took = Some(started.elapsed());
        Self { name, ok: Some(true), took, lines: vec![words], checks: Vec::new() }
    }

    /// Something to know.
    pub(super) fn said(name: &'static str, words: String) -> Self {
        Self::listed(name, vec![words])
    }

    /// Several things to know.
    pub(super) fn listed(name: &'static str, lines: Vec<String>) -> Self {
        Self { name, ok: None, took: None, lines, checks: Vec::new() }
    }

    /// A verdict with its items.
    pub(super) fn judged(name: &'static str, ok: Option<bool>, words: String, checks: Vec<Check>) -> Self {
        Self { name, ok, took: None, lines: vec![words], checks }
    }

    fn to_text(&self) -> String {
        let mark = match self.ok {
            Some(true) => "ok  ",
            Some(false) => "FAIL",
            None => "    ",
        };
        let took = self.took.map(milliseconds).unwrap_or_default();
        let mut text = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            let line = shorten_to(line, output::LONGEST_TEXT);
            let (mark, name, took) =
                if at == 0 { (mark, self.name, took.as_str()) } else { ("    ", "", "") };
            text.push_str(&format!("  {mark}  {name:18}  {took:>9}  {line}\n"));
        }
        for line in Inspection::checks_to_text(&self.checks).lines().skip(1) {
            text.push_str(&format!("        {line}\n"));
        }
        text
    }

    fn to_json(&self) -> Value {
        json!({
            "step": self.name, "ok": self.ok, "took_ms": self.took.map(|took| took.as_secs_f64() * 1000.0),
            "found": self.lines, "checks": Inspection::checks_to_json(&self.checks),
        })
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// All steps and the end.
pub(crate) struct Report {
    target: String,
    steps: Vec<Step>,
    end: Option<Result<Ending, Broken>>,
}

impl Report {
    pub(super) fn new(target: String) -> Self {
        Self { target, steps: Vec::new(), end: None }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(super) fn end(&mut self, end: Result<Ending, Broken>) {
        self.end = Some(end);
    }

    /// Whether everything worked.
    pub(crate) fn works(&self) -> bool {
        matches!(self.end, Some(Ok(_)))
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("handshake with {}\n", self.target);
        for step in &self.steps {
            text.push_str(&step.to_text());
        }
        match &self.end {
            Some(Ok(Ending(works))) => text.push_str(&format!("works: {works}\n")),
            Some(Err(broken)) => {
                let Broken { step, reason, detail, .. } = broken;
                let detail = shorten_to(detail, output::LONGEST_TEXT);
                text.push_str(&format!("broke at {step}: {reason}: {detail}\n"));
                text.push_str(&output::fields(0, &[("help", advice::of(broken, &self.target))]));
            }
            None => {}
        }
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let steps: Vec<_> = self.steps.iter().map(Step::to_json).collect();
        let (works, broke) = match &self.end {
            Some(Ok(Ending(works))) => (Some(works.clone()), Value::Null),
            Some(Err(broken)) => (
                None,
                json!({
                    "step": broken.step, "reason": broken.reason.as_str(), "detail": broken.detail,
                    "help": advice::of(broken, &self.target),
                    "client_address": broken.connection.map(|(local, _)| local.to_string()),
                    "explain": broken.command(),
                    "server_address": broken.connection.map(|(_, remote)| remote.to_string()),
                }),
            ),
            None => (None, Value::Null),
        };
        json!({ "target": self.target, "ok": self.works(), "steps": steps, "works": works, "broke": broke })
    }
}
