//! A setting of telemetry that cannot be used: what is wrong with it, and what follows.

use std::fmt;

/// A setting of telemetry that cannot be used. No such setting keeps a process from starting: it is reported once, and
/// either its default is used or no traces are exported.
///
/// Its text never holds what a file contains or what a header carries, since both may be credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    setting: String,
    fault: String,
    consequence: &'static str,
}

impl Warning {
    pub(crate) fn new(
        setting: impl Into<String>,
        fault: impl Into<String>,
        consequence: &'static str,
    ) -> Self {
        Self { setting: setting.into(), fault: fault.into(), consequence }
    }

    /// The setting's name: an environment variable, or a key of `[telemetry]`.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.setting, self.fault, self.consequence)
    }
}

/// How many characters of a value a warning repeats.
const SHOWN: usize = 60;

/// A value as a warning repeats it: one line, control characters escaped, cut when it is long.
pub(crate) fn shown(value: &str) -> String {
    let escaped = |text: &str| text.escape_debug().collect::<String>();
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}…`", escaped(value.get(..end).unwrap_or_default())),
        None => format!("`{}`", escaped(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_which_setting_what_is_wrong_and_what_follows() {
        let warning = Warning::new("OTEL_PROPAGATORS", "is `b3`", "W3C Trace Context is used");
        assert_eq!(warning.to_string(), "OTEL_PROPAGATORS is `b3`: W3C Trace Context is used");
        assert_eq!(warning.setting(), "OTEL_PROPAGATORS");
    }

    #[test]
    fn a_value_cannot_begin_a_line_of_its_own_or_fill_the_log() {
        assert_eq!(shown("a\nERROR forged\x1b[31m"), "`a\\nERROR forged\\u{1b}[31m`");
        assert_eq!(shown(&"ä".repeat(61)), format!("`{}…`", "ä".repeat(60)));
        assert_eq!(shown(&"ä".repeat(60)), format!("`{}`", "ä".repeat(60)));
    }
}
