//! How results look: aligned tables for people, JSON for programs.

use crate::printable::is_plain;
use serde_json::Value;
use std::io::{self, Write};

/// Writes a JSON value and a line end. What a terminal would obey is escaped, as JSON allows in any string.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", escaped(&format!("{value:#}")))
}

/// JSON leaves only the first 32 characters unsaid; terminals obey more.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c == '\n' || is_plain(c) {
            text.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
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

/// Whether standard output is a terminal whose owner has nothing against colours.
pub(crate) fn colours() -> bool {
    use std::io::IsTerminal;
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
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

/// Text of others on one line: what would move a terminal's cursor, colour it or turn its direction shows as `�`.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect()
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
    fn json_holds_nothing_that_a_terminal_obeys_and_means_the_same() {
        let value = Value::from("a\u{9b}2J \u{202e}b\u{e0041} ü\n");
        let text = escaped(&format!("{value:#}"));
        assert_eq!(text, r#""a\u009b2J \u202eb\udb40\udc41 ü\n""#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

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
    fn text_of_others_cannot_steer_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c";
        assert_eq!(clean(evil), "a�[2J�31m��b�c");
        assert_eq!(table(["X"], &[[evil.to_owned()]]).lines().count(), 2);
        assert_eq!(fields(0, &[("x", evil.to_owned())]).lines().count(), 1);
        assert_eq!(clean("spiffe://market.example/ö × √"), "spiffe://market.example/ö × √");
    }
}
