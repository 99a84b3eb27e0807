//! A step of a handshake, as it is shown.

use crate::inspect::{Check, checks_to_json, checks_to_text};
use avouch_text::{LONGEST_TEXT, shorten_to};
use serde_json::{Value, json};
use std::time::Duration;

/// A step that was taken.
#[derive(Debug)]
pub(super) struct Step {
    name: &'static str,
    /// Whether it went well; `None`: nothing was judged.
    ok: Option<bool>,
    took: Option<Duration>,
    lines: Vec<String>,
    checks: Vec<Check>,
}

impl Step {
    /// A step that went well and took time.
    pub(super) fn done(name: &'static str, took: Duration, words: String) -> Self {
        Self { name, ok: Some(true), took: Some(took), lines: vec![words], checks: Vec::new() }
    }

    /// A step with something to know.
    pub(super) fn said(name: &'static str, words: String) -> Self {
        Self::listed(name, vec![words])
    }

    /// A step with several things to know.
    pub(super) fn listed(name: &'static str, lines: Vec<String>) -> Self {
        Self { name, ok: None, took: None, lines, checks: Vec::new() }
    }

    /// A step with a verdict and the items behind it.
    pub(super) fn judged(name: &'static str, ok: Option<bool>, words: String, checks: Vec<Check>) -> Self {
        Self { name, ok, took: None, lines: vec![words], checks }
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn to_text(&self) -> String {
        let mark = match self.ok {
            Some(true) => "ok  ",
            Some(false) => "FAIL",
            None => "    ",
        };
        let took = self.took.map(milliseconds).unwrap_or_default();
        let mut text = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            let line = shorten_to(line, LONGEST_TEXT);
            let (mark, name, took) =
                if at == 0 { (mark, self.name, took.as_str()) } else { ("    ", "", "") };
            text.push_str(&format!("  {mark}  {name:18}  {took:>9}  {line}\n"));
        }
        for line in checks_to_text(&self.checks).lines().skip(1) {
            text.push_str(&format!("        {line}\n"));
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "step": self.name, "ok": self.ok, "took_ms": self.took.map(|took| took.as_secs_f64() * 1000.0),
            "found": self.lines, "checks": checks_to_json(&self.checks),
        })
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}
