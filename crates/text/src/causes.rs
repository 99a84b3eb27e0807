//! An error and what caused it, on one line.

use std::error::Error;
use std::fmt;

/// The error and its causes, `: ` between them; a cause that the text before it ends with already is left out, since
/// transparent errors say what is below them as their own. Line ends and characters that a terminal would interpret are
/// shown as `�`; with `{:#}` line ends stay, for errors that list several things.
pub fn with_causes<'a>(error: &'a (dyn Error + 'a)) -> WithCauses<'a> {
    WithCauses(error)
}

/// Displays an error as [`with_causes`] says.
#[derive(Clone, Copy)]
pub struct WithCauses<'a>(&'a (dyn Error + 'a));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&if f.alternate() { crate::clean_lines(&line) } else { crate::clean(&line) })
    }
}

impl fmt::Debug for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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

    fn caused(texts: &[&'static str]) -> Fault {
        let mut texts = texts.iter().rev();
        let last = Fault(texts.next().unwrap(), None);
        texts.fold(last, |cause, text| Fault(text, Some(Box::new(cause))))
    }

    #[test]
    fn every_cause_is_named_once() {
        for (texts, line) in [
            (&["alone"][..], "alone"),
            (&["cannot read", "no such file"], "cannot read: no such file"),
            (&["same", "same", "below"], "same: below"),
            (&["cannot: why", "why"], "cannot: why"),
        ] {
            assert_eq!(with_causes(&caused(texts)).to_string(), line);
        }
    }

    #[test]
    fn a_cause_cannot_steer_a_terminal_or_begin_a_line_of_its_own() {
        let error = caused(&["a\x1b[2J", "b\nc"]);
        assert_eq!(with_causes(&error).to_string(), "a�[2J: b�c");
        assert_eq!(format!("{:#}", with_causes(&error)), "a�[2J: b\nc");
    }
}
