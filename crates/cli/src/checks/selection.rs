//! Which checks are shown.

use super::catalogue::catalogue;
use super::check::{Category, Check};
use std::str::FromStr;

/// The checks to show: one, or those of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Id(&'static str),
    Category(Category),
}

impl Selection {
    pub(super) fn takes(&self, check: &Check) -> bool {
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
