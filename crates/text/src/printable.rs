//! Which characters show as themselves, and what is shown in place of the others.

/// The most characters of one untrusted text that [`shorten`] shows; no legitimate name is longer.
pub const LONGEST_SHOWN: usize = 400;
/// The most characters that are shown of a longer text that may be untrusted: advice with a path in it, a list of
/// names.
pub const LONGEST_TEXT: usize = 2_000;

/// Whether a character shows as itself, and only as itself: it is no control character, no line end, and none that hides
/// or reorders the characters around it (Unicode bidirectional controls, zero-width characters, tags).
#[must_use]
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e0000}'..='\u{e007f}'))
}

/// The text on one line; every character that is not printable shows as `�`.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect()
}

/// The text with its line ends; every other character that is not printable shows as `�`.
#[must_use]
pub fn clean_lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || is_printable(c) { c } else { '\u{fffd}' }).collect()
}

/// The text on one line; every character that is not printable shows as `\u{…}`, its number in hexadecimal.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) { shown.push(c) } else { shown.extend(c.escape_unicode()) }
    }
    shown
}

/// The text as [`escape`] shows it, cut after [`LONGEST_SHOWN`] characters with the number of those left out.
#[must_use]
pub fn shorten(text: &str) -> String {
    shorten_to(text, LONGEST_SHOWN)
}

/// As [`shorten`], cut after `most` characters: for texts that may legitimately be longer, such as advice with a
/// command.
#[must_use]
pub fn shorten_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most).and_then(|(at, _)| text.split_at_checked(at)) {
        Some((front, rest)) => format!("{}… ({} characters more)", escape(front), rest.chars().count()),
        None => escape(text),
    }
}

/// The path as [`shorten`] shows a text: whatever its name, on one line.
#[must_use]
pub fn shorten_path(path: &std::path::Path) -> String {
    shorten(&path.display().to_string())
}

/// JSON text whose strings hold no character that is not printable: JSON requires escapes for the first 32 characters
/// only, and terminals interpret more. Means the same to a JSON reader (RFC 8259 §7). The line ends between values
/// stay.
#[must_use]
pub fn escape_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c == '\n' || is_printable(c) {
            text.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_what_it_is() {
        for (hostile, cleaned, escaped) in [
            ("a\x1b[2Jb", "a�[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\tc", "a�b��c", "a\\u{a}b\\u{d}\\u{9}c"),
            ("\u{9b}31m", "�31m", "\\u{9b}31m"),
            ("\u{202e}txt", "�txt", "\\u{202e}txt"),
            ("a\u{200b}b\u{feff}", "a�b�", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}\u{e0041}", "��", "\\u{2028}\\u{e0041}"),
            ("größer → ×", "größer → ×", "größer → ×"),
        ] {
            assert_eq!((clean(hostile), escape(hostile)), (cleaned.to_owned(), escaped.to_owned()));
        }
        assert_eq!(clean_lines("a\nb\r\x1bc\n"), "a\nb��c\n");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let shown = shorten(&"ä".repeat(LONGEST_SHOWN + 7));
        assert!(shown.ends_with("… (7 characters more)"), "{shown}");
        assert_eq!(shown.matches('ä').count(), LONGEST_SHOWN);
        assert_eq!(shorten(&"x".repeat(LONGEST_SHOWN)), "x".repeat(LONGEST_SHOWN));
        assert_eq!(shorten_to("a\nbc", 2), "a\\u{a}… (2 characters more)");
    }

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys() {
        assert_eq!(
            escape_json("\"a\u{9b}2J \u{202e}b\u{e0041} ü\\n\"\n"),
            "\"a\\u009b2J \\u202eb\\udb40\\udc41 ü\\n\"\n"
        );
    }
}
