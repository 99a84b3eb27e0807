//! The writers of standard output and standard error, and the filter before them.
//!
//! Invariant: of all that is written to either, only [`bytes`] (for programs: archives, DER, a shell's script) and the
//! colours of a [`Page`] are not printable characters and line ends.

use avouch_text::{clean, clean_lines, escape_json};
use serde_json::Value;
use std::io::{self, IsTerminal, Read, Write};

/// Writes a JSON value and a line end. What a terminal would obey is escaped, as JSON allows in any string.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", escape_json(&format!("{value:#}")))
}

/// Writes a JSON value on one line, for readers that take results as they come.
pub(crate) fn json_line(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", escape_json(&value.to_string()))
}

/// Writes text of one or more lines.
pub(crate) fn text(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(clean_lines(text).as_bytes())
}

/// Writes text that has colours in it.
pub(crate) fn page(page: &Page) -> io::Result<()> {
    io::stdout().lock().write_all(page.text.as_bytes())
}

/// Writes octets as they are: what is not text, or was made here and holds nothing of a stranger.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(bytes)
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard output is a terminal for which colours are not disabled.
pub(crate) fn colours() -> bool {
    is_terminal() && wants_colours()
}

/// Whether the environment does not disable colours and the terminal supports them.
pub(super) fn wants_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Says something beside the result, to a person only.
pub(crate) fn hint(text: &str) {
    if io::stderr().is_terminal() {
        say(&clean(text));
    }
}

/// Says something beside the result that must not be overlooked, such as what the result lacks.
pub(crate) fn warn(text: &str) {
    say(&clean(text));
}

/// Writes a line, already clean, to standard error. Where that is closed nobody can be told.
pub(super) fn say(clean: &str) {
    let _ = writeln!(io::stderr().lock(), "{clean}");
}

/// A colour of ours (ECMA-48 §8.3.117).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Text with colours in it: they are put there by [`paint`](Self::paint) alone.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    colours: bool,
}

impl Page {
    /// An empty page, on which colours show or not.
    pub(crate) fn new(colours: bool) -> Self {
        Self { text: String::new(), colours }
    }

    /// Adds text of one or more lines.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(&clean_lines(text));
    }

    /// Adds text in a colour.
    pub(crate) fn paint(&mut self, colour: Colour, text: &str) {
        if self.colours {
            self.text.push_str(&format!("\x1b[{}m{}\x1b[0m", colour as u8, clean(text)));
        } else {
            self.push(text);
        }
    }

    /// The text of the page.
    #[cfg(test)]
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Passes on what another program writes to standard output (or error), through the filter as text or as JSON.
pub(crate) fn pass_on(mut from: impl Read, to_error: bool, is_json: bool) -> io::Result<()> {
    let filter = if is_json { escape_json } else { clean_lines };
    let mut to: Box<dyn Write> = if to_error { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let mut pending = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        pending.extend_from_slice(buffer.get(..read).unwrap_or_default());
        // A character may be cut in two by the buffer; at the end nothing more comes.
        let whole = if read == 0 { pending.len() } else { whole_characters(&pending) };
        let rest = pending.split_off(whole);
        to.write_all(filter(&String::from_utf8_lossy(&pending)).as_bytes())?;
        pending = rest;
        if read == 0 {
            return to.flush();
        }
    }
}

/// The number of octets without an incomplete character at the end.
fn whole_characters(octets: &[u8]) -> usize {
    match octets.utf8_chunks().last() {
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none()) => {
            octets.len() - last.invalid().len()
        }
        _ => octets.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_no_colour_but_its_own() {
        for (colours, expected) in [(false, "×\n a�[31mb�\n"), (true, "\x1b[31m×\x1b[0m\n a�[31mb�\n")]
        {
            let mut page = Page::new(colours);
            page.paint(Colour::Red, "×");
            page.push("\n a\x1b[31mb\u{202e}\n");
            assert_eq!(page.into_text(), expected);
        }
        let mut page = Page::new(true);
        page.paint(Colour::Green, "\x1b[2J\n");
        assert_eq!(page.into_text(), "\x1b[32m�[2J�\x1b[0m");
    }

    #[test]
    fn only_an_incomplete_character_waits_for_the_rest_of_it() {
        for (octets, whole) in [
            (&b""[..], 0),
            (b"abc", 3),
            ("aé".as_bytes(), 3),
            (b"a\xc3", 1),
            (b"a\xf0\x9f\x98", 1),
            (b"a\xff", 2),
            (b"\xffa\xc3", 2),
        ] {
            assert_eq!(whole_characters(octets), whole, "{octets:?}");
        }
    }
}
