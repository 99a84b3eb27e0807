//! What is looked at in a fleet, one by one, each under an id that never changes its meaning.
//!
//! A check judges what a `Fleet` says and asks nobody: the same dump always gets the same verdict. What a process did
//! not say is not judged, so silence never counts as good; [`AV-501`](transport) reports it.

mod certificate;
mod clock;
mod identity;
mod issuer;
#[cfg(test)]
mod page;
mod policy;
mod records;
mod report;
mod storage;
mod transport;
mod trust;
mod view;

#[cfg(test)]
mod tests;

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

pub(crate) use report::Report;
use view::View;

/// What a check is about.
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
    const ALL: [Self; 9] = [
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

/// How bad what was found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Good,
    /// Good, with something worth knowing.
    Note,
    Warning,
    Bad,
}

/// Whom a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The trust domain as a whole.
    Fleet,
    Issuer,
    /// By its place in [`Fleet::members`](crate::fleet::Fleet).
    Member(usize),
}

/// One verdict of a check on one subject.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) subject: Subject,
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub(crate) struct Check {
    /// Never changes its meaning, and is never used again.
    pub(crate) id: &'static str,
    pub(crate) category: Category,
    /// What holds if all is well.
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) remedy: &'static str,
    /// The first thing to do, with its command.
    pub(crate) hint: &'static str,
    /// The checks whose failure explains a failure of this one.
    pub(crate) causes: &'static [&'static str],
    judge: fn(&View<'_>) -> Vec<Finding>,
}

/// Every check, by category, then by id.
pub(crate) fn catalogue() -> impl Iterator<Item = &'static Check> {
    [
        issuer::CHECKS,
        clock::CHECKS,
        identity::CHECKS,
        trust::CHECKS,
        policy::CHECKS,
        transport::CHECKS,
        storage::CHECKS,
        records::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// The page of an id: of a check, or of an item of `avouch cert inspect`.
pub(crate) fn page(id: &str) -> Option<String> {
    let id = id.to_ascii_uppercase();
    match catalogue().find(|check| check.id == id) {
        Some(check) => Some(check.page()),
        None => certificate::page(&id),
    }
}

/// Every id that has a [`page`].
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    catalogue().map(|check| check.id).chain(certificate::ITEMS.iter().map(|item| item.id))
}

impl Check {
    fn page(&self) -> String {
        let mut text = format!("{} ({}): {}\n\n", self.id, self.category.name(), self.title);
        text.push_str(&crate::output::paragraph("It means: ", self.meaning));
        text.push_str(&crate::output::paragraph("What to do: ", self.remedy));
        if !self.causes.is_empty() {
            let of = |id: &&str| catalogue().find(|check| check.id == *id).map(|check| check.title);
            text.push_str("Look first at what may have caused it:\n");
            for id in self.causes {
                text.push_str(&format!("  {id}  {}\n", of(id).unwrap_or_default()));
            }
        }
        text
    }
}

/// Which checks to show: one, or those of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Id(&'static str),
    Category(Category),
}

impl Selection {
    fn takes(&self, check: &Check) -> bool {
        match self {
            Self::Id(id) => check.id == *id,
            Self::Category(category) => check.category == *category,
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.to_ascii_uppercase();
        if let Some(check) = catalogue().find(|check| check.id == id) {
            return Ok(Self::Id(check.id));
        }
        let category = Category::ALL.into_iter().find(|category| category.name() == text);
        match category {
            Some(Category::Certificate) => {
                Err("certificates are looked into with `avouch cert inspect FILE`".to_owned())
            }
            Some(category) => Ok(Self::Category(category)),
            None => {
                let names: Vec<_> = Category::ALL.iter().take(8).map(|category| category.name()).collect();
                Err(format!("no check and no category of checks; categories are {}", names.join(", ")))
            }
        }
    }
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
