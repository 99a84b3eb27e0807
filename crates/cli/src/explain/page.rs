//! The look of an explanation: a headline, then facts beside their names. Every text on it is escaped here.

use avouch_fleet::Fleet;
use avouch_text::{escape, shorten};
use avouch_time::{parse_rfc3339, relative};
use serde_json::Value;

/// An answer, for people and for programs.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) text: String,
    pub(crate) json: Value,
}

/// The width of the column of names.
const NAMES: usize = 13;

/// An explanation being written.
pub(super) struct Page {
    text: String,
    last: &'static str,
}

impl Page {
    pub(super) fn new(head: &str) -> Self {
        Self { text: format!("{}\n", shorten(head)), last: "" }
    }

    /// A fact; a name that is the one before is not repeated.
    pub(super) fn fact(&mut self, name: &'static str, text: &str) {
        self.line(name, &shorten(text));
    }

    /// A line to be copied: as it is, however long.
    pub(super) fn whole(&mut self, name: &'static str, text: &str) {
        self.line(name, &escape(text));
    }

    fn line(&mut self, name: &'static str, text: &str) {
        let shown = if name == self.last { "" } else { name };
        self.last = name;
        let line = format!("  {shown:NAMES$}{text}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A time of a record, as it is there and relative to when the fleet was asked.
pub(super) fn moment(fleet: &Fleet, time: &str) -> String {
    match parse_rfc3339(time).zip(parse_rfc3339(&fleet.taken_at)) {
        Some((at, now)) => format!("{time} ({})", relative(at, now)),
        None => time.to_owned(),
    }
}
