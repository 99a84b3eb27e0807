//! How results look: aligned tables for people, JSON for programs.

use serde_json::Value;
use std::io::{self, Write};

/// Writes a JSON value and a line end.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{value:#}")
}

/// Writes text as it is.
pub(crate) fn text(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Says something beside the result, to a person only.
pub(crate) fn hint(text: &str) {
    use std::io::IsTerminal;
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Says something beside the result that must not be overlooked, such as what the result lacks.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", clean(text));
}

/// Columns, each as wide as its widest cell; the last one is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))).collect();
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

/// Text of others on one line: what would move a terminal's cursor, colour it or turn its direction shows as `�`.
pub(crate) fn clean(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// Names and values under each other.
pub(crate) fn fields(indent: usize, rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| {
            format!("{:indent$}{name:width$}  {}", "", clean(value)).trim_end().to_owned() + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn text_of_others_cannot_steer_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c";
        assert_eq!(clean(evil), "a�[2J�31m��b�c");
        assert_eq!(table(["X"], &[[evil.to_owned()]]).lines().count(), 2);
        assert_eq!(fields(0, &[("x", evil.to_owned())]).lines().count(), 1);
        assert_eq!(clean("spiffe://market.example/ö × √"), "spiffe://market.example/ö × √");
    }
}
