//! The `[inventory]` section of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; created if absent.
    pub database: PathBuf,
    /// The stock file, see [`Seed`](crate::Seed). Articles that the database has already are left as they are.
    pub stock: PathBuf,
}
