//! Text of others, made safe to show: what a peer, a certificate or a dump says must not move the cursor, hide what
//! stands before it, or fill the screen.

pub(crate) use avouch_spiffe::is_plain;

/// Longest text that is shown whole; no honest one is longer.
const LONGEST: usize = 400;

/// `text` on one line, without anything that a terminal would obey rather than show, and cut if it is very long.
pub(crate) fn printable(text: &str) -> String {
    match text.char_indices().nth(LONGEST).and_then(|(at, _)| text.split_at_checked(at)) {
        Some((front, rest)) => format!("{}… ({} characters more)", whole(front), rest.chars().count()),
        None => whole(text),
    }
}

/// As [`printable`], however long: for what is to be copied.
pub(crate) fn whole(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) { shown.push(c) } else { shown.extend(c.escape_unicode()) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_what_it_is() {
        for (hostile, shown) in [
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\tc", "a\\u{a}b\\u{d}\\u{9}c"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}txt", "\\u{202e}txt"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}", "\\u{2028}"),
            ("größer → ×", "größer → ×"),
        ] {
            assert_eq!(printable(hostile), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let shown = printable(&"ä".repeat(LONGEST + 7));
        assert!(shown.ends_with("… (7 characters more)"), "{shown}");
        assert_eq!(shown.matches('ä').count(), LONGEST);
        assert_eq!(printable(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }
}
