//! An entry of the catalogue.

use super::finding::Finding;
use super::view::View;
use serde::Serialize;

/// The part of the system that a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Category {
    Issuer,
    Clock,
    Identity,
    Trust,
    Policy,
    Transport,
    Storage,
    Records,
    /// The items of `avouch cert inspect`; they judge a certificate, not a fleet.
    Certificate,
}

impl Category {
    pub(super) const ALL: [Self; 9] = [
        Self::Issuer,
        Self::Clock,
        Self::Identity,
        Self::Trust,
        Self::Policy,
        Self::Transport,
        Self::Storage,
        Self::Records,
        Self::Certificate,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Clock => "clock",
            Self::Identity => "identity",
            Self::Trust => "trust",
            Self::Policy => "policy",
            Self::Transport => "transport",
            Self::Storage => "storage",
            Self::Records => "records",
            Self::Certificate => "certificate",
        }
    }
}

/// A check: what holds if all is well, and what to do if it does not.
#[derive(Debug)]
pub(crate) struct Check {
    /// The id: it never changes its meaning, and is never used again.
    pub(crate) id: &'static str,
    pub(crate) category: Category,
    /// The sentence that holds if all is well.
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) remedy: &'static str,
    /// The first thing to do, with its command.
    pub(crate) hint: &'static str,
    /// The checks whose failure can be the cause of a failure of this one.
    pub(crate) causes: &'static [&'static str],
    pub(super) judge: fn(&View<'_>) -> Vec<Finding>,
}
