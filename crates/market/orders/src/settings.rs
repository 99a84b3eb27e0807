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

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that the section's type knows, from what serde says to one that it does not know.
    fn keys() -> Vec<String> {
        let said = toml::from_str::<Settings>("zzz = 1").unwrap_err().to_string();
        let (_, known) = said.split_once("unknown field `zzz`").unwrap();
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn no_number_of_the_section_is_without_bounds() {
        assert_eq!(keys().len(), 2);
        for key in keys() {
            for value in ["9223372036854775807", "-1", "nan", "1e300", "'9223372036854775807s'"] {
                let line = if key == "database" { String::new() } else { format!("{key} = {value}\n") };
                let outcome = toml::from_str::<Settings>(&format!("database = 'd'\n{line}"));
                let refused = outcome.map_or(true, |settings| settings.patience().is_err());
                assert!(refused || key == "database", "{key} = {value}");
            }
        }
    }

    #[test]
    fn a_patience_out_of_bounds_is_refused_with_its_key() {
        let patience = |text: &str| toml::from_str::<Settings>(text).unwrap().patience();
        assert_eq!(patience("database = 'd'").unwrap(), Duration::from_secs(4));
        assert_eq!(patience("database = 'd'\npatience = '500ms'").unwrap(), Duration::from_millis(500));
        let error = patience("database = 'd'\npatience = '2h'").unwrap_err().to_string();
        assert!(error.starts_with("orders.patience = 2h: must be a duration"), "{error}");
    }
}
