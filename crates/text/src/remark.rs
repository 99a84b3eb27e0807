//! Remarks: the words by which an operator says why something was done. They are kept, and shown to others.

use crate::printable::is_printable;

/// The most characters of a remark.
pub const LONGEST_REMARK: usize = 500;

/// Why a text cannot be a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemarkError {
    /// It is longer than [`LONGEST_REMARK`].
    TooLong {
        /// Its characters.
        characters: usize,
    },
    /// It holds a character that is not printable.
    NotPrintable {
        /// The character.
        character: char,
    },
}

impl std::fmt::Display for RemarkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { characters } => {
                write!(f, "it has {characters} characters, and at most {LONGEST_REMARK} are allowed")
            }
            Self::NotPrintable { character } => {
                write!(f, "it holds {}, which is not printable", character.escape_unicode())
            }
        }
    }
}

impl std::error::Error for RemarkError {}

/// Refuses a text that is too long to be kept or that a terminal would not show as it is. Checked where a remark is
/// typed and, since others may call the issuer, where it is stored.
///
/// # Errors
/// [`RemarkError`]; it quotes nothing but the number of the first character that is not printable.
pub fn check_remark(text: &str) -> Result<(), RemarkError> {
    let characters = text.chars().count();
    if characters > LONGEST_REMARK {
        return Err(RemarkError::TooLong { characters });
    }
    match text.chars().find(|c| !is_printable(*c)) {
        Some(character) => Err(RemarkError::NotPrintable { character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_one_printable_line_of_bounded_length() {
        for good in
            ["", "laptop stolen, ticket 4711", "Schlüssel kopiert → gesperrt", &"ä".repeat(LONGEST_REMARK)]
        {
            assert_eq!(check_remark(good), Ok(()), "{good}");
        }
        let long = "x".repeat(LONGEST_REMARK + 1);
        assert_eq!(check_remark(&long), Err(RemarkError::TooLong { characters: LONGEST_REMARK + 1 }));
        for (bad, character) in
            [("a\nb", '\n'), ("a\u{1b}[2J", '\u{1b}'), ("\u{202e}x", '\u{202e}'), ("\0", '\0')]
        {
            assert_eq!(check_remark(bad), Err(RemarkError::NotPrintable { character }), "{bad:?}");
        }
        let shown = RemarkError::NotPrintable { character: '\u{9b}' }.to_string();
        assert_eq!(shown, "it holds \\u{9b}, which is not printable");
    }
}
