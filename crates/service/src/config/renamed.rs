//! Configuration keys that had another name.
//!
//! A configuration that still has an old key is refused; the message shows the new key, and the value as it is written
//! now where that can be said. Old keys are never accepted silently: a key set under both names would have two values.
//! The same table, for operators, is in `docs/operations/upgrade.md`.

use std::time::Duration;

use avouch_time::ConfigDuration;

use super::error::ConfigFault;
use super::layers::Layers;
use super::scalar::Scalar;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The renamed keys of the sections that every process has.
pub(super) const COMMON: &[Renamed] = &[
    Renamed::key("service.federated", "service.admit_federated"),
    Renamed::key("service.limits.max_abandoned_calls", "service.limits.max_cancelled_calls"),
    Renamed::duration("identity.timeout_ms", "identity.timeout", MILLISECOND),
    Renamed::duration("identity.poll_ms", "identity.poll_interval", MILLISECOND),
];

/// A configuration key that had another name.
#[derive(Clone, Copy, Debug)]
pub struct Renamed {
    old: &'static str,
    new: &'static str,
    /// What a bare number counted under the old name.
    unit: Option<Duration>,
}

impl Renamed {
    /// A key whose value is written as before. Both names with their sections, as in `service.listen`.
    #[must_use]
    pub const fn key(old: &'static str, new: &'static str) -> Self {
        Self { old, new, unit: None }
    }

    /// A key that is a duration; a bare number counted `unit`s under the old name.
    #[must_use]
    pub const fn duration(old: &'static str, new: &'static str, unit: Duration) -> Self {
        Self { old, new, unit: Some(unit) }
    }

    /// The old value as it is written under the new name, if it is simple enough to be repeated.
    fn rewritten(&self, given: &Scalar) -> Option<String> {
        match self.unit {
            Some(unit) => given.as_duration(unit).map(|duration| format!("\"{}\"", ConfigDuration(duration))),
            None => given.as_literal(),
        }
    }

    fn refuse(&self, given: Option<&Scalar>) -> ConfigFault {
        let key = self.new.rsplit('.').next().unwrap_or(self.new);
        ConfigFault::Renamed {
            old: self.old,
            new: self.new,
            written: given.and_then(|given| self.rewritten(given)).map(|value| format!("{key} = {value}")),
        }
    }
}

/// Refuses the first key of `renamed` that is set under its old name.
pub(super) fn refuse(layers: &Layers, renamed: &[Renamed]) -> Result<(), ConfigFault> {
    let found = renamed.iter().find_map(|key| layers.find(key.old).map(|value| (key, value)));
    found.map_or(Ok(()), |(key, value)| Err(key.refuse(value.clone().try_deserialize().ok().as_ref())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fault, load};
    use super::*;

    #[test]
    fn an_old_key_is_refused_with_the_new_one_and_its_value_beside_it() {
        for (file, said) in [
            (
                "[service]\nfederated = true\n",
                "service.federated is now called service.admit_federated; write `admit_federated = true`",
            ),
            (
                "[service.limits]\nmax_abandoned_calls = 9\n",
                "service.limits.max_abandoned_calls is now called service.limits.max_cancelled_calls; write \
                 `max_cancelled_calls = 9`",
            ),
            (
                "[identity]\nsource = 'issuer'\naddress = 'a:1'\ntimeout_ms = 2500\n",
                "identity.timeout_ms is now called identity.timeout; write `timeout = \"2s500ms\"`",
            ),
            (
                "[identity]\nsource = 'files'\npoll_ms = '1s'\n",
                "identity.poll_ms is now called identity.poll_interval; write `poll_interval = \"1s\"`",
            ),
            (
                "[identity]\nsource = 'files'\npoll_ms = -1\n",
                "identity.poll_ms is now called identity.poll_interval",
            ),
        ] {
            assert_eq!(fault(file, &[], &[]), said);
        }
        let env = [("AVOUCH_IDENTITY__TIMEOUT_MS", "250")];
        assert!(fault("", &env, &[]).ends_with("write `timeout = \"250ms\"`"));
        assert!(fault("", &[], &["service.federated=no"]).ends_with("write `admit_federated = \"no\"`"));
    }

    #[test]
    fn a_service_has_renamed_keys_of_its_own() {
        const OWN: &[Renamed] =
            &[Renamed::duration("orders.patience", "orders.timeout", Duration::from_secs(1))];
        let config = load("[orders]\npatience = 4\n", &[], &[]).unwrap();
        let error = config.refuse_renamed(OWN).unwrap_err();
        assert_eq!(
            error.fault.to_string(),
            "orders.patience is now called orders.timeout; write `timeout = \"4s\"`"
        );
        assert!(load("[orders]\ntimeout = '4s'\n", &[], &[]).unwrap().refuse_renamed(OWN).is_ok());
    }

    #[test]
    fn the_page_on_upgrades_names_every_renamed_key() {
        let page = include_str!("../../../../docs/operations/upgrade.md");
        for key in COMMON {
            let row = |line: &str| {
                line.contains(&format!("`{}`", key.old)) && line.contains(&format!("`{}`", key.new))
            };
            assert!(page.lines().any(row), "{} -> {}", key.old, key.new);
        }
    }
}
