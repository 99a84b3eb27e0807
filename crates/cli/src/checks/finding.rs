//! What a check finds: how bad, about whom, and in which words.

use serde::Serialize;
use std::fmt;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Good,
    /// In order, with something worth knowing.
    Note,
    Warning,
    Bad,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good | Self::Note => "√",
            Self::Warning => "‼",
            Self::Bad => "×",
        })
    }
}

/// The one that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The trust domain as a whole.
    Fleet,
    Issuer,
    /// The workload at this place in [`Fleet::members`](avouch_fleet::Fleet).
    Member(usize),
}

/// The verdict of a check on one subject.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) subject: Subject,
    pub(crate) level: Level,
    pub(crate) text: String,
}
