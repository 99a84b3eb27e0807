//! The log filter, in the syntax of `RUST_LOG`.
//!
//! A misspelt level would be read as the name of a target, and silence everything else. It is refused here, as is
//! invalid syntax; the filter is then [`DEFAULT`], so that the warning is seen.

use avouch_text::suggest_within;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::warning::shown;

/// The filter when none is given, or one that cannot be used.
pub(crate) const DEFAULT: &str = "info";

/// Crates below the exporter and the transport: their spans are never exported, their log lines show from `warn` on
/// unless the filter names them; of h2 from `error` on, since it warns of every frame that a peer sends amiss.
pub(crate) const TRANSPORT: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "rustls",
    "tonic",
    "tower",
];

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Level names of other loggers; no crate has such a name.
const FOREIGN: &[(&str, &str)] = &[
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("notice", "info"),
    ("information", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
    ("none", "off"),
];

/// Reads a filter; the transport below telemetry stays quiet unless the filter names it. The error is a predicate of
/// the setting it came from.
pub(crate) fn parse(text: &str) -> Result<EnvFilter, String> {
    let no_filter = || format!("is {}, which is no log filter", shown(text));
    // Blanks are taken out here: the parser counts positions without them and cuts the text with them, so that
    // ` info` becomes a target, and a blank before a letter beyond ASCII a panic.
    let directives: Vec<_> =
        text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() {
        return Err(no_filter());
    }
    for word in &directives {
        if let Some(level) = meant_level(word) {
            return Err(format!(
                "is {}, where {} is no level (did you mean `{level}`? a target is written `{word}=trace`)",
                shown(text),
                shown(word)
            ));
        }
    }
    let quiet: String = TRANSPORT.iter().map(|target| format!("{target}=warn,")).collect();
    EnvFilter::builder().parse(format!("{quiet}h2=error,{}", directives.join(","))).map_err(|_| no_filter())
}

/// The level that a directive without `=` probably means, when it is none: what looks like a target is left alone.
fn meant_level(word: &str) -> Option<&'static str> {
    if word.is_empty()
        || word.parse::<LevelFilter>().is_ok()
        || !word.bytes().all(|c| c.is_ascii_alphanumeric())
    {
        return None;
    }
    let word = word.to_ascii_lowercase();
    if let Some((_, level)) = FOREIGN.iter().find(|(foreign, _)| *foreign == word) {
        return Some(level);
    }
    // A number beyond the levels 0 to 5; no crate's name begins with a digit.
    if word.bytes().all(|c| c.is_ascii_digit()) {
        return Some("trace");
    }
    // One typo away; for `off`, whose neighbours are words, only a transposition.
    let possible = LEVELS.iter().copied().filter(|level| level.len() > 3 || word.len() == level.len());
    suggest_within(1, &word, possible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_targets_and_spans_are_read() {
        for good in [
            "info",
            "WARN",
            "off",
            "3",
            "orders=debug",
            "info,avouch_identity::record=debug",
            "tower",
            "avouch_identity",
            "infra",
            "orders[checkout]=trace",
            "info,h2=trace",
            "market_ledger=debug,",
            " orders=debug , info ",
            "trade=trace",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good).err());
        }
    }

    #[test]
    fn what_the_syntax_does_not_know_is_refused_with_its_text() {
        for bad in ["orders=louder", "orders==info", "=", "orders[", "info,!", "orders=debug=info", ","] {
            let fault = parse(bad).expect_err(bad);
            assert!(fault.contains(bad) && fault.contains("no log filter"), "{fault}");
        }
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target_that_silences_all_others() {
        for (bad, meant) in [
            ("inof", "info"),
            ("Warning", "warn"),
            ("debgu", "debug"),
            ("infoo", "info"),
            ("eror", "error"),
            ("verbose", "debug"),
            ("7", "trace"),
            ("orders=debug, trac", "trace"),
        ] {
            let fault = parse(bad).expect_err(bad);
            assert!(fault.contains(&format!("did you mean `{meant}`?")), "{bad}: {fault}");
        }
    }

    #[test]
    fn blanks_between_directives_do_not_make_a_level_a_target_or_the_parser_panic() {
        assert!(parse("orders=debug, info").unwrap().to_string().ends_with("info"));
        for odd in [" ä=info", "info,\u{2003}ä=debug", " [ä{b=c}]=info"] {
            let _ = parse(odd);
        }
    }

    #[test]
    fn a_long_filter_is_not_repeated_in_full() {
        let fault = parse(&format!("a={}", "x".repeat(10_000))).unwrap_err();
        assert!(fault.len() < 200, "{fault}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in r#"([a-zä:_=,\[\]\{\} "\u{2003}]|info|debug|=warn){0,24}"#) {
            let _ = parse(&text);
        }
    }
}
