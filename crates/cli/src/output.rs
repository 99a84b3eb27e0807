//! The one place that standard output and standard error go through, and how results look on them: aligned tables for
//! people, JSON for programs.
//!
//! Everything that is printed passes a filter here ([`terminal`]), so that no text of a stranger (a peer, a dump, a file,
//! the name of one, what a library says of them) is obeyed by a terminal. Nothing else in this crate writes to either.

mod errors;
mod terminal;

pub(crate) use errors::{report, usage};
pub(crate) use terminal::{Colour, Page, bytes, colours, hint, is_terminal, json, page, pass_on, text, warn};

use avouch_text::{shorten, shorten_to};

/// The most characters of a running text that are shown of one that a stranger may have written: advice with a path in it,
/// a list of names.
pub(crate) const LONGEST_TEXT: usize = 2_000;

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

/// Width that running text is broken at; commands in it stay on one line if they can.
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

/// Names and values under each other.
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

    /// Whoever writes past this module writes past its filter.
    #[test]
    fn nothing_else_in_this_crate_writes_to_standard_output_or_error() {
        let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
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
                let (code, _tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
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
