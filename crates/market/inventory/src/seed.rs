//! The stock file: the articles, and how much of each is there at the first start.
//!
//! ```toml
//! [[article]]
//! sku = "BOOK-0001"
//! on_hand = 500
//! reorder = { below = 100, quantity = 400 }   # optional
//! ```
//!
//! It refuses an article that is named twice, and numbers beyond what the store can hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use market_api::ids::{IdError, Sku};
use serde::Deserialize;

/// The largest stock file in bytes: room for some hundred thousand articles.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The reason why a stock file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file does not have the form of the module's documentation.
    #[error("the stock file is malformed in line {line}: {why}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong, without the text of the line.
        why: String,
    },
    /// An article's ID is invalid.
    #[error("article {position}: {source}")]
    Sku {
        /// The article's position in the file, from 1.
        position: usize,
        /// The cause.
        source: IdError,
    },
    /// An article is listed twice.
    #[error("{0} is listed twice")]
    Duplicate(Sku),
    /// The reorder quantity is zero, so the reorder would be repeated for ever.
    #[error("{0} is reordered in quantities of zero")]
    EmptyReorder(Sku),
}

/// The reordering of an article. Deliveries arrive at once: suppliers are not simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// An order goes out as soon as fewer pieces than this are in the warehouse.
    pub below: u32,
    /// The number of pieces that are delivered.
    pub quantity: u32,
}

/// One article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The article's ID.
    pub sku: Sku,
    /// Pieces in the warehouse at the first start.
    pub on_hand: u32,
    /// The reordering; `None`: the article is not reordered.
    pub reorder: Option<Reorder>,
}

/// All articles of a stock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The articles in the file's order, no two with the same ID.
    pub articles: Vec<Article>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    article: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sku: String,
    on_hand: u32,
    reorder: Option<Reorder>,
}

impl Seed {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub fn load(path: &Path) -> Result<Self, SeedError> {
        let error = |source| SeedError::Read { path: path.to_owned(), source };
        let bytes = avouch_files::read(path, LIMIT).map_err(error)?;
        let text = std::str::from_utf8(&bytes);
        Self::parse(text.map_err(|_| error(std::io::ErrorKind::InvalidData.into()))?)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// See [`SeedError`].
    pub fn parse(text: &str) -> Result<Self, SeedError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SeedError::Syntax { line: 1 + before.matches('\n').count(), why: error.message().to_owned() }
        })?;
        let mut seen = BTreeSet::new();
        let mut articles = Vec::with_capacity(file.article.len());
        for (position, row) in (1..).zip(file.article) {
            let sku: Sku = row.sku.parse().map_err(|source| SeedError::Sku { position, source })?;
            if row.reorder.is_some_and(|reorder| reorder.quantity == 0) {
                return Err(SeedError::EmptyReorder(sku));
            }
            if !seen.insert(sku.clone()) {
                return Err(SeedError::Duplicate(sku));
            }
            articles.push(Article { sku, on_hand: row.on_hand, reorder: row.reorder });
        }
        Ok(Self { articles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_stock_file_is_one() {
        let seed =
            Seed::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy/demo/stock.toml")));
        let seed = seed.unwrap();
        assert!(seed.articles.len() > 20);
        assert!(seed.articles.iter().any(|article| article.reorder.is_some()));
        assert!(seed.articles.iter().any(|article| article.on_hand == 0 && article.reorder.is_none()));
    }

    #[test]
    fn an_article_that_is_there_twice_is_refused() {
        let text = "[[article]]\nsku = 'A'\non_hand = 1\n[[article]]\nsku = 'A'\non_hand = 2\n";
        assert!(matches!(Seed::parse(text), Err(SeedError::Duplicate(sku)) if sku.as_str() == "A"));
    }

    #[test]
    fn a_bad_sku_is_refused_with_its_place() {
        let text = "[[article]]\nsku = 'A'\non_hand = 1\n[[article]]\nsku = 'b'\non_hand = 2\n";
        assert!(matches!(Seed::parse(text), Err(SeedError::Sku { position: 2, .. })));
    }

    #[test]
    fn negative_stock_unknown_fields_and_empty_reorders_are_refused() {
        for text in [
            "[[article]]\nsku = 'A'\non_hand = -1\n",
            "[[article]]\nsku = 'A'\non_hand = 1\nprice = 3\n",
            "[[article]]\nsku = 'A'\n",
            "[[articles]]\nsku = 'A'\non_hand = 1\n",
            "[[article]]\nsku = 'A'\non_hand = 1\nreorder = { below = 3, quantity = 0 }\n",
        ] {
            assert!(Seed::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Seed::load(Path::new("no/such/stock.toml")).unwrap_err();
        assert!(error.to_string().contains("no/such/stock.toml"), "{error}");
    }
}
