//! The `[storefront]` section of the configuration, and the flags that override it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use avouch_service::{BootError, Bounds, Config, ConfigFault, Renamed, Scalar};
use serde::Deserialize;

use crate::{StreamOptions, SubmitOptions};

/// The service's own section as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    /// Orders to place at the start, as JSON lines; `-` is the standard input. Absent: none.
    orders_file: Option<PathBuf>,
    /// Where to write the totals of the stream, as JSON, when it has ended.
    result_file: Option<PathBuf>,
    /// Orders under way at the same time; default 16.
    concurrency: Option<Scalar>,
    /// After the stream: this many varied orders a second, made from those of the stream. 0: none, as by default.
    trickle_per_second: Option<Scalar>,
    /// How long to try an order before it counts as failed; default 120 s.
    deadline: Option<Scalar>,
    /// Where the HTTPS ingress listens. Absent: no ingress.
    ingress_listen: Option<String>,
    /// Where to write the ingress's bound `host:port`.
    ingress_address_file: Option<PathBuf>,
    /// End after the stream rather than going on as an ingress.
    once: Option<Scalar>,
}

/// The service's own section and its flags, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Orders to place at the start, as JSON lines; `-` is the standard input.
    pub orders_file: Option<PathBuf>,
    /// Where to write the totals of the stream, as JSON, when it has ended.
    pub result_file: Option<PathBuf>,
    /// Orders under way at the same time.
    pub concurrency: usize,
    /// After the stream: this many varied orders a second.
    pub trickle_per_second: f64,
    /// How long to try an order before it counts as failed.
    pub deadline: Duration,
    /// Where the HTTPS ingress listens.
    pub ingress_listen: Option<SocketAddr>,
    /// Where to write the ingress's bound `host:port`.
    pub ingress_address_file: Option<PathBuf>,
    /// End after the stream rather than going on as an ingress.
    pub once: bool,
}

/// The keys of `[storefront]` that had another name.
const RENAMED: &[Renamed] =
    &[Renamed::duration("storefront.give_up_after", "storefront.deadline", Duration::from_secs(1))];

const CONCURRENCY: Bounds<usize> =
    Bounds::new(1, 1024, "with none nothing is sent, and more than that is an attack on the orders service");
const TRICKLE: Bounds<f64> = Bounds::new(0.0, 1000.0, "0 is none, and more than that is no trickle");
/// The lowest rate of the trickle, one order in 1,000 s; the interval of a rate such as 1e-320 a second would overflow.
const LEAST_TRICKLE: f64 = 0.001;
const DEADLINE: Bounds<Duration> = Bounds::new(
    Duration::from_millis(1),
    Duration::from_secs(24 * 3600),
    "an order takes a call, and after a day its shopper is gone",
);

impl RawSettings {
    fn check(self, flags: Flags) -> Result<Settings, ConfigFault> {
        let key = |key: &str| format!("storefront.{key}");
        let concurrency = self.concurrency.map(|given| given.within(&key("concurrency"), &CONCURRENCY));
        let trickle = self.trickle_per_second.map(|given| given.within(&key("trickle_per_second"), &TRICKLE));
        let deadline = self.deadline.map(|given| given.within(&key("deadline"), &DEADLINE));
        let once = self.once.map(|given| given.flag(&key("once")));
        let settings = Settings {
            orders_file: flags.orders.or(self.orders_file),
            result_file: self.result_file,
            concurrency: concurrency.unwrap_or(Ok(16))?,
            trickle_per_second: trickle.unwrap_or(Ok(0.0))?,
            deadline: deadline.unwrap_or(Ok(Duration::from_secs(120)))?,
            ingress_listen: None,
            ingress_address_file: self.ingress_address_file,
            once: flags.once | once.unwrap_or(Ok(false))?,
        };
        let trickle = settings.trickle_per_second;
        if trickle > 0.0 && trickle < LEAST_TRICKLE {
            let expected = "must be 0 for none, or at least 0.001: one order in a thousand seconds";
            return Err(ConfigFault::value(&key("trickle_per_second"), trickle, expected));
        }
        if settings.orders_file.is_none() && trickle > 0.0 {
            let expected = "needs orders_file: the trickle is made from the orders of the stream";
            return Err(ConfigFault::value(&key("trickle_per_second"), trickle, expected));
        }
        if settings.orders_file.is_none() && settings.once {
            return Err(ConfigFault::value(
                &key("once"),
                true,
                "needs orders_file: there is nothing to end after",
            ));
        }
        Ok(settings)
    }
}

impl Settings {
    /// The settings of the configuration and the flags.
    ///
    /// # Errors
    /// The first setting that is invalid.
    pub fn of(config: &Config, flags: Flags) -> Result<Self, BootError> {
        config.refuse_renamed(RENAMED)?;
        let raw: RawSettings = config.settings()?;
        let ingress = raw.ingress_listen.clone();
        let mut settings = raw.check(flags)?;
        settings.ingress_listen =
            ingress.map(|text| config.listener("storefront.ingress_listen", &text)).transpose()?;
        if let Some(path) = &settings.ingress_address_file {
            config.writable_file("storefront.ingress_address_file", path)?;
        }
        config.needs_upstream("orders")?;
        Ok(settings)
    }

    /// The options of the stream.
    #[must_use]
    pub fn stream(&self) -> StreamOptions {
        StreamOptions { concurrency: self.concurrency }
    }

    /// The options of placing an order.
    #[must_use]
    pub fn submit(&self) -> SubmitOptions {
        SubmitOptions { deadline: self.deadline, ..SubmitOptions::default() }
    }

    /// The time between two orders of the trickle; `None` without a trickle.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        with(text, Flags::default())
    }

    fn with(text: &str, flags: Flags) -> Result<Settings, String> {
        toml::from_str::<RawSettings>(text).unwrap().check(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_an_ingress_without_a_stream() {
        let settings = parse("ingress_listen = '127.0.0.1:0'").unwrap();
        assert_eq!((settings.concurrency, settings.trickle_interval()), (16, None));
        assert_eq!((settings.deadline, settings.once), (Duration::from_secs(120), false));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_their_key() {
        for (text, key) in [
            ("concurrency = 0", "concurrency"),
            ("concurrency = 5000", "concurrency"),
            ("concurrency = -1", "concurrency"),
            ("concurrency = 1.5", "concurrency"),
            ("orders_file = 'x'\ntrickle_per_second = -1.0", "trickle_per_second"),
            ("orders_file = 'x'\ntrickle_per_second = nan", "trickle_per_second"),
            ("orders_file = 'x'\ntrickle_per_second = 1e-320", "trickle_per_second"),
            ("orders_file = 'x'\ntrickle_per_second = inf", "trickle_per_second"),
            ("trickle_per_second = 1.0", "trickle_per_second"),
            ("deadline = '9223372036854775807s'", "deadline"),
            ("deadline = 0", "deadline"),
            ("once = true", "once"),
            ("once = 7", "once"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("storefront.{key} = ")), "{text}: {error}");
        }
        assert!(toml::from_str::<RawSettings>("order_file = 'x'").is_err());
    }

    /// The keys of the section's type, taken from serde's error message for an unknown key.
    fn keys() -> Vec<String> {
        let said = toml::from_str::<RawSettings>("zzz = 1").unwrap_err().to_string();
        let (_, known) = said.split_once("unknown field `zzz`").unwrap();
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn no_number_of_the_section_is_without_bounds() {
        // Paths, and an address that the whole configuration judges.
        let texts = ["orders_file", "result_file", "ingress_listen", "ingress_address_file"];
        assert_eq!(keys().len(), 8);
        for key in keys() {
            for value in ["9223372036854775807", "-1", "nan", "1e300", "'9223372036854775807s'"] {
                let outcome = toml::from_str::<RawSettings>(&format!("{key} = {value}"));
                let refused = outcome.map_or(true, |raw| raw.check(Flags::default()).is_err());
                assert!(refused || texts.contains(&&*key), "{key} = {value}");
            }
        }
    }

    #[test]
    fn the_slowest_trickle_has_an_interval() {
        let slow = parse("orders_file = 'x'\ntrickle_per_second = 0.001").unwrap();
        assert_eq!(slow.trickle_interval(), Some(Duration::from_secs(1000)));
    }

    #[test]
    fn flags_go_before_the_file() {
        let flags = Flags { orders: Some("-".into()), once: true };
        let settings = with("orders_file = 'a'", flags).unwrap();
        assert_eq!((settings.orders_file, settings.once), (Some("-".into()), true));
        let settings = with("orders_file = 'a'\nonce = true", Flags::default()).unwrap();
        assert_eq!((settings.orders_file, settings.once), (Some("a".into()), true));
    }
}
