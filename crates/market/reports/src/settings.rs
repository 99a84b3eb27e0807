//! The `[reports]` section of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; created if absent.
    pub database: PathBuf,
}
