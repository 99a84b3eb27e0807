//! The `[orders]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use avouch_service::{ConfigFault, Renamed, Scalar};
use market_api::limits::ANSWER_TIMEOUT;
use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; created if absent.
    pub database: PathBuf,
    /// How long PlaceOrder waits for an order's end before it answers with the state reached so far.
    /// Default 4 s.
    pub timeout: Option<Scalar>,
}

impl Settings {
    /// The keys of `[orders]` that had another name.
    pub(crate) const RENAMED: &[Renamed] =
        &[Renamed::duration("orders.patience", "orders.timeout", Duration::from_secs(1))];

    pub(crate) fn timeout(&self) -> Result<Duration, ConfigFault> {
        let given = self.timeout.as_ref();
        given.map_or(Ok(Duration::from_secs(4)), |given| given.within("orders.timeout", &ANSWER_TIMEOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the section's type, taken from serde's error message for an unknown key.
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
                let refused = outcome.map_or(true, |settings| settings.timeout().is_err());
                assert!(refused || key == "database", "{key} = {value}");
            }
        }
    }

    #[test]
    fn a_timeout_out_of_bounds_is_refused_with_its_key() {
        let timeout = |text: &str| toml::from_str::<Settings>(text).unwrap().timeout();
        assert_eq!(timeout("database = 'd'").unwrap(), Duration::from_secs(4));
        assert_eq!(timeout("database = 'd'\ntimeout = '500ms'").unwrap(), Duration::from_millis(500));
        let error = timeout("database = 'd'\ntimeout = '2h'").unwrap_err().to_string();
        assert!(error.starts_with("orders.timeout = 2h: must be a duration"), "{error}");
    }
}
