//! Renders errors for people: what failed, why, and what to do.
//!
//! Every text is made clean before it is rendered, and the rendering passes a filter that leaves only colours: an error
//! names files, peers and texts of libraries, all of which strangers choose.

use super::terminal;
use avouch_text::{clean, clean_lines, escape, is_printable};
use miette::{Diagnostic, LabeledSpan, ReportHandler, SourceCode};
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Says an error with its causes and its help on standard error.
pub(crate) fn report(error: &dyn Diagnostic) {
    terminal::say(rendered(error).trim_end_matches('\n'));
}

fn rendered(error: &dyn Diagnostic) -> String {
    let shown = Shown { error, message: clean_lines(&error.to_string()), cause: Cause::of(error.source()) };
    only_colours(&Rendering(&shown).to_string())
}

/// Says what is wrong with the arguments, or the help that was asked for; the exit status is that of wrong usage or 0.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let to_error = error.use_stderr();
    let on_terminal = if to_error { std::io::stderr().is_terminal() } else { terminal::is_terminal() };
    let odd = odd_words();
    // The text quotes arguments and the environment. With something odd in them there are no colours: nobody could tell
    // theirs from ours.
    let colours = on_terminal && terminal::wants_colours() && odd.is_empty();
    let text = usage_text(&error.render().ansi().to_string(), &odd, colours);
    if to_error {
        terminal::say(text.trim_end_matches('\n'));
    } else if terminal::bytes(text.as_bytes()).is_err() {
        return ExitCode::SUCCESS; // its reader has gone, as in `avouch --help | head -1`
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn usage_text(styled: &str, odd: &[String], colours: bool) -> String {
    let escaped = odd.iter().fold(styled.to_owned(), |text, word| text.replace(word, &escape(word)));
    if colours {
        return only_colours(&escaped);
    }
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped.as_str();
    while let Some((front, back)) = rest.split_once('\x1b') {
        plain.push_str(&clean_lines(front));
        let sequence = rest.get(front.len()..).unwrap_or_default();
        match colour(sequence) {
            Some(length) => rest = sequence.get(length..).unwrap_or_default(),
            None => {
                plain.push('\u{fffd}');
                rest = back;
            }
        }
    }
    plain + &clean_lines(rest)
}

/// The arguments and the values of our environment variables that are not printable, longest first; of `--name=value`
/// either half, as the text quotes it.
fn odd_words() -> Vec<String> {
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AVOUCH_"));
    let all = std::env::args_os().skip(1).chain(ours.map(|(_, value)| value));
    let mut words: Vec<String> = Vec::new();
    for word in all.map(|word| word.to_string_lossy().into_owned()) {
        words.extend(
            word.split_once('=').into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]),
        );
        words.push(word);
    }
    words.retain(|word| !word.chars().all(is_printable));
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
}

/// The rendering of an error: unwrapped, so that paths and commands stay whole, to be copied.
struct Rendering<'a>(&'a dyn Diagnostic);

impl fmt::Display for Rendering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        miette::MietteHandlerOpts::new().wrap_lines(false).build().debug(self.0, f)
    }
}

/// A diagnostic whose texts are clean.
#[derive(Debug)]
struct Shown<'a> {
    error: &'a dyn Diagnostic,
    message: String,
    cause: Option<Box<Cause>>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

fn shown<'a>(text: Option<Box<dyn fmt::Display + 'a>>) -> Option<Box<dyn fmt::Display + 'a>> {
    text.map(|text| Box::new(clean_lines(&text.to_string())) as _)
}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        shown(self.error.code())
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        shown(self.error.help())
    }

    /// Clean where it is made: places in it must stay what they are.
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.error.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.error.labels()
    }
}

/// A cause whose text is clean.
#[derive(Debug)]
struct Cause {
    text: String,
    below: Option<Box<Cause>>,
}

impl Cause {
    fn of(error: Option<&dyn Error>) -> Option<Box<Self>> {
        let error = error?;
        Some(Box::new(Self { text: clean(&error.to_string()), below: Self::of(error.source()) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.below.as_deref().map(|cause| cause as _)
    }
}

/// Leaves printable characters, line ends, and sequences that set a colour or a weight (`ESC [ numbers m`).
fn only_colours(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(0);
        let (front, back) = rest.split_at_checked(length.max(c.len_utf8())).unwrap_or((rest, ""));
        if length > 0 {
            kept.push_str(front);
        } else {
            kept.push_str(&clean_lines(front));
        }
        rest = back;
    }
    kept
}

/// The length of the sequence that the text begins with, if it is one for colours.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    numbers.get(end..)?.starts_with('m').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fault(&'static str, Option<Box<Fault>>);

    impl fmt::Display for Fault {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Fault {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    impl Diagnostic for Fault {
        fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
            Some(Box::new("C\x1b[8mODE"))
        }

        fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
            Some(Box::new("do\u{9b}2J this\u{202e}"))
        }
    }

    #[test]
    fn neither_message_nor_cause_nor_help_nor_code_steers_a_terminal() {
        let cause = Fault("why\x1b]0;title\x07", Some(Box::new(Fault("below\r\x1bc", None))));
        let text = rendered(&Fault("what\x1b[2J", Some(Box::new(cause))));
        for part in ["what�[2J", "why�]0;title�", "below��c", "do�2J this�", "C�[8mODE"] {
            assert!(text.contains(part), "{part}: {text:?}");
        }
        let ours = text.split("\x1b[").skip(1).all(|part| colour(&format!("\x1b[{part}")).is_some());
        assert!(ours && text.chars().all(|c| c == '\n' || c == '\x1b' || is_printable(c)), "{text:?}");
    }

    #[test]
    fn a_quoted_argument_is_one_line_and_colours_go_where_they_are_not_wanted() {
        let odd = ["a\x1b[31m\nb".to_owned()];
        let styled = "\x1b[1merror:\x1b[0m no 'a\x1b[31m\nb'\n\x1b[2Jx\ty";
        assert_eq!(usage_text(styled, &odd, false), "error: no 'a\\u{1b}[31m\\u{a}b'\n�[2Jx�y");
        assert_eq!(usage_text("\x1b[1mUsage:\x1b[0m \x1b[2J", &[], true), "\x1b[1mUsage:\x1b[0m �[2J");
    }

    #[test]
    fn of_the_sequences_of_a_terminal_only_colours_are_left() {
        for (text, kept) in [
            ("\x1b[31;1mred\x1b[0m\n", "\x1b[31;1mred\x1b[0m\n"),
            ("a\x1b[2Jb\x1b[?25l", "a�[2Jb�[?25l"),
            ("\x1b", "�"),
            ("\x1b[", "�["),
            ("\x1b[1", "�[1"),
            ("é\x1b]8;;x\x07\t", "é�]8;;x��"),
        ] {
            assert_eq!(only_colours(text), kept);
        }
    }
}
