//! Conditions on a caller's certificate, in roles and deny rules.

use std::collections::BTreeSet;
use std::time::Duration;

use avouch_time::duration;
use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::condition::{Condition, ISSUER, KEYS, MAX_AGE, OLDER_THAN, SERIAL, SHA256, SPKI, pin};
use crate::policy::{ConditionFault, PolicyFault};

impl Reader<'_> {
    /// Reads one key of a condition into `into`; returns whether `key` is one.
    pub(super) fn condition(
        &mut self,
        into: &mut Condition,
        at: usize,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> bool {
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else { return false };
        match key {
            MAX_AGE => into.max_age = self.duration(at, MAX_AGE, value),
            OLDER_THAN => into.older_than = self.duration(at, OLDER_THAN, value),
            SPKI => into.spki_sha256 = self.pins(at, SPKI, value),
            SHA256 => into.sha256 = self.pins(at, SHA256, value),
            ISSUER => into.issuer_key_id = self.pins(at, ISSUER, value),
            _ => into.serial = self.pins(at, SERIAL, value),
        }
        true
    }

    pub(super) fn duration(
        &mut self,
        at: usize,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Duration> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(at, key, "a duration: \"1h\"");
            return None;
        };
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let fault = ConditionFault::Duration { key, error };
                self.problem(value.span().start, PolicyFault::Condition(fault));
                None
            }
        }
    }

    /// A pin, or an array of them, of which the certificate needs to have one.
    fn pins(&mut self, at: usize, key: &'static str, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        let texts = match value.get_ref() {
            DeValue::String(text) => vec![(value.span().start, text.as_ref())],
            DeValue::Array(list) if list.is_empty() => {
                self.problem(at, PolicyFault::Condition(ConditionFault::NoPins(key)));
                return Vec::new();
            }
            DeValue::Array(list) => self.strings(list, key),
            _ => {
                self.wrong_type(at, key, "a string or an array of strings");
                return Vec::new();
            }
        };
        let mut pins = BTreeSet::new();
        for (at, text) in texts {
            let fault = match pin(key, text) {
                Ok(pin) if pins.insert(pin.clone()) => continue,
                Ok(_) => ConditionFault::PinTwice { key, text: text.to_owned() },
                Err(error) => ConditionFault::Pin { key, text: text.to_owned(), error },
            };
            self.problem(at, PolicyFault::Condition(fault));
        }
        pins.into_iter().collect()
    }

    /// One pin, as a test writes it.
    pub(super) fn one_pin(
        &mut self,
        at: usize,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<String> {
        if let DeValue::String(_) = value.get_ref() {
            return self.pins(at, key, value).pop();
        }
        self.wrong_type(at, key, "a string");
        None
    }

    pub(super) fn check_role_condition(&mut self, at: usize, condition: &Condition) {
        if condition.older_than.is_some() {
            self.problem(at, PolicyFault::Condition(ConditionFault::NotInRole));
        }
        self.check_serial(at, condition);
    }

    pub(super) fn check_deny_condition(&mut self, at: usize, condition: &Condition) {
        if condition.max_age.is_some() {
            let hint = "max_certificate_age belongs to a role; a deny rule says certificate_older_than";
            self.problem(at, PolicyFault::Condition(ConditionFault::NotInDeny(hint)));
        }
        // An ECDSA signature (r, s) has a twin (r, -s), which anybody can compute: the same certificate with another hash.
        if !condition.sha256.is_empty() {
            let hint = "cert_sha256 denies nothing for certain, because whoever holds a certificate can give it another \
                        fingerprint; deny it by spki_sha256, or by issuer_key_id and serial";
            self.problem(at, PolicyFault::Condition(ConditionFault::NotInDeny(hint)));
        }
        self.check_serial(at, condition);
    }

    fn check_serial(&mut self, at: usize, condition: &Condition) {
        if !condition.serial.is_empty() && condition.issuer_key_id.len() != 1 {
            self.problem(at, PolicyFault::Condition(ConditionFault::SerialWithoutIssuer));
        }
    }
}
