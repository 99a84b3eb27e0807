//! What the `[orders]` section of the configuration holds.

use std::path::PathBuf;
use std::time::Duration;

use avouch_service::{Bounds, ConfigFault, Scalar};
use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; made if absent.
    pub database: PathBuf,
    /// How long PlaceOrder sees an order through before it answers with the state reached so far.
    /// Default 4 s.
    pub patience: Option<Scalar>,
}

impl Settings {
    const PATIENCE: Bounds<Duration> = Bounds::new(
        Duration::ZERO,
        Duration::from_secs(3600),
        "with none the answer comes at once, and nobody waits longer for it",
    );

    pub(crate) fn patience(&self) -> Result<Duration, ConfigFault> {
        let given = self.patience.as_ref();
        given.map_or(Ok(Duration::from_secs(4)), |given| given.within("orders.patience", &Self::PATIENCE))
    }
}
