//! The one place that standard output and standard error go through, and how results look on them: aligned tables for
//! people, JSON for programs.
//!
//! Everything that is printed passes a filter here ([`terminal`]), so that no text of a stranger (a peer, a dump, a file,
//! the name of one, what a library says of them) is obeyed by a terminal. Nothing else in this crate writes to either.

mod errors;
mod terminal;

pub(crate) use errors::{report, usage};
pub(crate) use terminal::{Colour, Page, bytes, colours, hint, is_terminal, json_line, pass_on, text, warn};

use avouch_text::{LONGEST_TEXT, shorten, shorten_to};
use miette::Diagnostic;
use serde::Serialize;
use std::io;

/// The form in which a command writes its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}

/// A command's result for people. Hints and reports are not the result itself and go to standard error.
pub(crate) enum Text {
    Lines(String),
    /// Text with colours in it.
    Page(Page),
    /// There is no result to write, only something that a person may want to know.
    Hint(String),
    /// There is no result to write, but something that must not be overlooked.
    Warnings(Vec<String>),
    /// There is no result, for these reasons.
    Reports(Vec<Box<dyn Diagnostic>>),
}

impl From<String> for Text {
    fn from(lines: String) -> Self {
        Self::Lines(lines)
    }
}

impl From<Page> for Text {
    fn from(page: Page) -> Self {
        Self::Page(page)
    }
}

impl Output {
    /// Writes a command's result: what `json` makes for programs, or what `text` makes for people.
    pub(crate) fn show<J: Serialize, T: Into<Text>>(
        self,
        json: impl FnOnce() -> J,
        text: impl FnOnce() -> T,
    ) -> io::Result<()> {
        match self {
            Self::Json => return terminal::json(&serde_json::to_value(json())?),
            Self::Text => match text().into() {
                Text::Lines(lines) => terminal::text(&lines)?,
                Text::Page(page) => terminal::page(&page)?,
                Text::Hint(hint) => terminal::hint(&hint),
                Text::Warnings(warnings) => warnings.iter().for_each(|warning| terminal::warn(warning)),
                Text::Reports(reports) => reports.iter().for_each(|problem| report(problem.as_ref())),
            },
        }
        Ok(())
    }
}

/// Columns, each as wide as its widest cell; the last one is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| shorten(cell))).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[String; N]| {
        let mut row = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            row.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(&head.map(str::to_owned));
    rows.iter().for_each(line);
    text
}

/// The width at which running text is wrapped.
const WIDTH: usize = 100;

/// Running text behind a head, broken into lines and indented under it.
pub(crate) fn paragraph(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let mut lines = String::from(head);
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

/// One name and value a line, the values aligned.
pub(crate) fn fields(indent: usize, rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| {
            format!("{:indent$}{name:width$}  {}", "", shorten_to(value, LONGEST_TEXT)).trim_end().to_owned()
                + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_text_is_broken_under_its_head() {
        let text = paragraph("So: ", &"word ".repeat(30));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("So: word word"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.trim_end() == line), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("    word"), "{text}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(table(["ID", "X"], &rows), "ID   X\na    long cell\nbcd\n");
        assert_eq!(
            fields(2, &[("id", "x".to_owned()), ("expires", String::new())]),
            "  id       x\n  expires\n"
        );
    }

    #[test]
    fn text_of_others_neither_steers_the_terminal_nor_begins_a_line_nor_fills_the_screen() {
        let evil = "a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c";
        let row = table(["X"], &[[evil.to_owned()]]);
        assert_eq!(row, "X\na\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}b\\u{202e}c\n");
        assert_eq!(fields(0, &[("x", evil.to_owned())]), "x  a\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}b\\u{202e}c\n");
        assert!(table(["X"], &[["x".repeat(10_000)]]).chars().count() < 500);
        assert!(fields(0, &[("x", "x".repeat(10_000))]).chars().count() < 2_100);
    }

    /// Checks that no other module writes to the terminal, which would bypass the filter.
    #[test]
    fn nothing_else_in_this_crate_writes_to_standard_output_or_error() {
        let of_crate = |dir: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        let mut directories = vec![of_crate("src"), of_crate("../fleet/src")];
        let mut looked_at = 0;
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("src/output") || path.ends_with("src/output.rs") {
                    continue;
                }
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let (code, _tests) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((&text, ""));
                for way in ["println!", "print!", "stdout()", "stderr()", "dbg!", "\\x1b[", ".exit()"] {
                    let uses: Vec<_> = code.lines().filter(|line| line.contains(way)).collect();
                    assert!(
                        uses.is_empty() || path.ends_with("tests.rs"),
                        "{} uses {way}: {uses:?}",
                        path.display()
                    );
                }
                looked_at += 1;
            }
        }
        assert!(looked_at > 50);
    }
}
