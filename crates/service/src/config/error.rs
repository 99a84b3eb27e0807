//! Configuration errors, worded so that they can be fixed: which key, why, and what was probably meant.

use std::borrow::Cow;
use std::path::PathBuf;

use avouch_identity::IdentityConfigError;
use avouch_spiffe::OutOfBounds;
use avouch_text::suggest;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
pub struct ConfigError {
    /// What is wrong with it.
    #[from]
    #[source]
    pub fault: ConfigFault,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A layer cannot be parsed.
    #[error("{detail}")]
    Syntax {
        /// Where and why.
        detail: String,
    },
    /// `--set` is not `SECTION.KEY=VALUE`.
    #[error("--set takes SECTION.KEY=VALUE, not `{0}`")]
    Override(String),
    /// There is no such section.
    #[error("there is no section [{section}]{}", did_you_mean(suggestion.as_deref()))]
    UnknownSection {
        /// The section as given.
        section: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// There is no such key.
    #[error("[{section}] has no key `{key}`{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The section of the key.
        section: String,
        /// The key as given.
        key: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// A key has another name now.
    #[error("{old} is now called {new}{}", written.as_ref().map(|line| format!("; write `{line}`")).unwrap_or_default())]
    Renamed {
        /// The old name, section first.
        old: &'static str,
        /// The new name, section first.
        new: &'static str,
        /// The key and its value as they are written now, if that can be said.
        written: Option<String>,
    },
    /// A section cannot be read into its type.
    #[error("{}", in_its_section(section, detail))]
    Section {
        /// Which section.
        section: String,
        /// What is wrong.
        detail: String,
    },
    /// A value is not acceptable.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// Which key, section first.
        key: String,
        /// The value as given.
        value: String,
        /// What is expected, and why.
        expected: Cow<'static, str>,
    },
    /// A number or a duration is not one, or is out of bounds.
    #[error("{key} = {bounds}")]
    OutOfBounds {
        /// Which key, section first.
        key: String,
        /// What it says, and what it may say.
        bounds: OutOfBounds,
    },
    /// The identity cannot be had as it is configured.
    #[error("identity.{0}")]
    Identity(IdentityConfigError),
    /// A secret stands in the configuration.
    #[error("{key} is {what} itself; put it into a file that its owner alone can read, and name the file")]
    Secret {
        /// Which key, section first.
        key: String,
        /// What it looks like.
        what: &'static str,
    },
    /// A section that is needed is absent.
    #[error("there is no section [{0}]")]
    MissingSection(String),
}

impl ConfigFault {
    /// The value of `key` cannot be accepted; `expected` says what is, and why.
    pub fn value(key: &str, value: impl ToString, expected: impl Into<Cow<'static, str>>) -> Self {
        Self::Value { key: key.to_owned(), value: hidden(&value.to_string()), expected: expected.into() }
    }
}

/// The section's own checks name it already.
fn in_its_section(section: &str, detail: &str) -> String {
    match detail.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')) {
        true => detail.to_owned(),
        false => format!("[{section}]: {detail}"),
    }
}

/// A text from the configuration, on one line and without what looks like a secret.
pub(super) fn hidden(text: &str) -> String {
    avouch_text::clean(&avouch_text::hide_secrets(text))
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Converts a section's deserialization error; serde's message about an unknown field becomes a suggestion.
pub(super) fn in_section(section: &str, error: &config::ConfigError) -> ConfigFault {
    let detail = error.to_string();
    match unknown_field(&detail) {
        Some((key, suggestion)) => {
            ConfigFault::UnknownKey { section: section.to_owned(), key: hidden(key), suggestion }
        }
        None => ConfigFault::Section { section: section.to_owned(), detail: hidden(&detail) },
    }
}

/// Parses serde's "unknown field `x`, expected one of `a`, `b`": returns the field and the nearest of the other names.
fn unknown_field(message: &str) -> Option<(&str, Option<String>)> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    Some((field, suggest(field, known).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_complaint_about_a_field_becomes_a_suggestion() {
        let one = unknown_field("unknown field `lisen`, expected one of `listen`, `address` in a.toml");
        assert_eq!(one, Some(("lisen", Some("listen".into()))));
        assert_eq!(unknown_field("unknown field `x`, there are no fields"), Some(("x", None)));
        assert_eq!(unknown_field("invalid type: map"), None);
    }
}
