//! The look of an explanation: a headline, then facts beside their names. Every text on it is escaped here.

use avouch_text::{escape, shorten};

/// Width of the names.
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
