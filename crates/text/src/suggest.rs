//! "Did you mean": the known word that is nearest to a mistyped one.
//!
//! Distances count inserted, left out, wrong and swapped characters (Damerau and Levenshtein). Of several words at the
//! same distance the first of the alphabet is taken.

/// The word of `known` that `word` was probably meant to be: at most a third of it is different.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    suggest_within((word.chars().count() / 3).max(1), word, known)
}

/// The word of `known` that is nearest to `word`, and no more than `distance` away from it.
pub fn suggest_within<'a>(
    distance: usize,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let with_distance = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    with_distance.filter(|(away, _)| *away <= distance).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let known = ["ledger-writer", "ledger-reader", "staff", "health"];
        for (word, meant) in [
            ("ledger-writr", Some("ledger-writer")),
            ("stuff", Some("staff")),
            ("heatlh", Some("health")),
            ("auditor", None),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(suggest(word, known), meant, "{word:?}");
        }
    }

    #[test]
    fn nothing_is_suggested_beyond_the_distance_that_was_named() {
        assert_eq!(suggest_within(1, "tracing", ["trace"]), None);
        assert_eq!(suggest_within(3, "tracing", ["trace"]), Some("trace"));
    }
}
