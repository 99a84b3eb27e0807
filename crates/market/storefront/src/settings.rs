//! What the `[storefront]` section of the configuration holds, and the flags that go before it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use avouch_service::Period;
use serde::Deserialize;

use crate::{StreamOptions, SubmitOptions};

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Orders to place at the start, as JSON lines; `-` is the standard input. Absent: none.
    pub orders_file: Option<PathBuf>,
    /// Where to write the totals of the stream, as JSON, when it has ended.
    pub result_file: Option<PathBuf>,
    /// Orders under way at the same time.
    pub concurrency: usize,
    /// After the stream: so many varied orders a second, made from those of the stream. 0: none.
    pub trickle_per_second: f64,
    /// How long to try an order before it counts as failed.
    pub give_up_after: Period,
    /// Where the HTTPS ingress listens. Absent: no ingress.
    pub ingress_listen: Option<SocketAddr>,
    /// Where to write the ingress's bound `host:port`.
    pub ingress_address_file: Option<PathBuf>,
    /// End after the stream rather than going on as an ingress.
    pub once: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            orders_file: None,
            result_file: None,
            concurrency: 16,
            trickle_per_second: 0.0,
            give_up_after: Period(Duration::from_secs(120)),
            ingress_listen: None,
            ingress_address_file: None,
            once: false,
        }
    }
}

/// Why settings are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Nothing could ever be sent, or far too much.
    #[error("storefront.concurrency is 1 to 1024")]
    Concurrency,
    /// Not a rate.
    #[error("storefront.trickle_per_second is 0 to 1000")]
    Trickle,
    /// The trickle is made from the orders of the stream.
    #[error("storefront.trickle_per_second needs orders_file")]
    TrickleOfNothing,
    /// There is nothing to end after.
    #[error("storefront.once needs orders_file")]
    OnceNothing,
}

impl Settings {
    /// These settings, if they make sense.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn checked(self) -> Result<Self, SettingsError> {
        if !(1..=1024).contains(&self.concurrency) {
            return Err(SettingsError::Concurrency);
        }
        if !(0.0..=1000.0).contains(&self.trickle_per_second) {
            return Err(SettingsError::Trickle);
        }
        if self.orders_file.is_none() && self.trickle_per_second > 0.0 {
            return Err(SettingsError::TrickleOfNothing);
        }
        if self.orders_file.is_none() && self.once {
            return Err(SettingsError::OnceNothing);
        }
        Ok(self)
    }

    /// How the stream is worked off.
    #[must_use]
    pub fn stream(&self) -> StreamOptions {
        StreamOptions { concurrency: self.concurrency }
    }

    /// How an order is placed.
    #[must_use]
    pub fn submit(&self) -> SubmitOptions {
        SubmitOptions { give_up_after: self.give_up_after.0, ..SubmitOptions::default() }
    }

    /// Between two orders of the trickle; `None` when there is none.
    #[must_use]
    pub fn trickle_interval(&self) -> Option<Duration> {
        (self.trickle_per_second > 0.0).then(|| Duration::from_secs_f64(1.0 / self.trickle_per_second))
    }
}

/// Flags of the storefront, beside those every service has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Orders to place, as JSON lines; `-` for the standard input
    #[arg(long, value_name = "FILE|-")]
    pub orders: Option<PathBuf>,
    /// End after the orders rather than going on as an ingress
    #[arg(long)]
    pub once: bool,
}

impl Flags {
    /// Puts the flags over the settings.
    pub fn apply(self, settings: &mut Settings) {
        if let Some(orders) = self.orders {
            settings.orders_file = Some(orders);
        }
        settings.once |= self.once;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        toml::from_str::<Settings>(text).unwrap().checked()
    }

    #[test]
    fn the_defaults_are_an_ingress_without_a_stream() {
        let settings = parse("ingress_listen = '127.0.0.1:0'").unwrap();
        assert_eq!((settings.concurrency, settings.trickle_interval()), (16, None));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for (text, error) in [
            ("concurrency = 0", SettingsError::Concurrency),
            ("concurrency = 5000", SettingsError::Concurrency),
            ("orders_file = 'x'\ntrickle_per_second = -1.0", SettingsError::Trickle),
            ("orders_file = 'x'\ntrickle_per_second = nan", SettingsError::Trickle),
            ("trickle_per_second = 1.0", SettingsError::TrickleOfNothing),
            ("once = true", SettingsError::OnceNothing),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
        assert!(toml::from_str::<Settings>("order_file = 'x'").is_err());
    }

    #[test]
    fn flags_go_before_the_file() {
        let mut settings = parse("orders_file = 'a'").unwrap();
        Flags { orders: Some("-".into()), once: true }.apply(&mut settings);
        assert_eq!(settings.orders_file, Some("-".into()));
        assert!(settings.once);
        Flags::default().apply(&mut settings);
        assert!(settings.once);
    }
}
