//! What the `[orders]` section of the configuration holds.

use std::path::PathBuf;
use std::time::Duration;

use avouch_service::Period;
use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; made if absent.
    pub database: PathBuf,
    /// How long PlaceOrder sees an order through before it answers with the state reached so far.
    #[serde(default = "default_patience")]
    pub patience: Period,
}

const fn default_patience() -> Period {
    Period(Duration::from_secs(4))
}
