//! The environment as telemetry reads it: all variables by the same rules, and one warning for each that cannot be
//! used.
//!
//! Specification: OpenTelemetry environment variables. An empty value counts as an absent one. What cannot be parsed is
//! reported and ignored; which settings turn the export off instead is decided by their readers.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::warning::{Warning, shown};

/// A setting is there and cannot be used; the warning is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// What follows when a setting of the export cannot be used.
pub(crate) const NO_EXPORT: &str = "no traces are exported";

/// Looks a variable up.
type Variable<'a> = Box<dyn Fn(&str) -> Option<OsString> + 'a>;

/// The environment, and the warnings about what was read from it.
pub(crate) struct Environment<'a> {
    variable: Variable<'a>,
    warnings: Vec<Warning>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString> + 'a) -> Self {
        Self { variable: Box::new(variable), warnings: Vec::new() }
    }

    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    pub(crate) fn warn(
        &mut self,
        setting: impl Into<String>,
        fault: impl Into<String>,
        consequence: &'static str,
    ) {
        self.warnings.push(Warning::new(setting, fault, consequence));
    }

    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Reads a variable with `parse`, whose error is a predicate of the variable, as in "names no host".
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        consequence: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Broken> {
        let Some(value) = (self.variable)(name) else { return Ok(None) };
        let parsed = match value.to_str().map(str::trim) {
            Some("") => return Ok(None),
            Some(text) => parse(text),
            None => Err("is not UTF-8".to_owned()),
        };
        parsed.map(Some).map_err(|fault| {
            self.warn(name, fault, consequence);
            Broken
        })
    }

    /// As [`Environment::read`], for a variable that counts as absent when it cannot be used.
    pub(crate) fn read_or_ignore<T>(
        &mut self,
        name: &str,
        consequence: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, consequence, parse).unwrap_or_default()
    }

    /// Which variable holds the exporter's setting `name`: that of traces, else the one of all signals.
    ///
    /// Specification: OTLP exporter, "each configuration option MUST be overridable by a signal specific option".
    pub(crate) fn otlp(&self, name: &str) -> Option<String> {
        otlp_variables(name).into_iter().find(|variable| self.is_set(variable))
    }

    /// The exporter's setting `name`, and the variable it is from. The first that can be used counts.
    pub(crate) fn otlp_or_ignore<T>(
        &mut self,
        name: &str,
        consequence: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(String, T)> {
        otlp_variables(name).into_iter().find_map(|variable| {
            self.read_or_ignore(&variable, consequence, &parse).map(|value| (variable, value))
        })
    }

    /// The file that the exporter's setting `name` names, with the variable. A path need not be UTF-8.
    pub(crate) fn otlp_file(&self, name: &str) -> Option<(String, PathBuf)> {
        let variable = self.otlp(name)?;
        let value = (self.variable)(&variable)?;
        let path = value.to_str().map_or_else(|| PathBuf::from(&value), |text| PathBuf::from(text.trim()));
        Some((variable, path))
    }

    fn is_set(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| value.to_str().is_none_or(|text| !text.trim().is_empty()))
    }
}

/// The variables of the exporter's setting `name`, the one that wins first.
fn otlp_variables(name: &str) -> [String; 2] {
    [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
}

/// The only values the specification knows for a switch: `true` and `false`, without regard to case.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(format!("is {}, which is neither true nor false", shown(text)))
    }
}

/// A whole number from `least` to `most`.
pub(crate) fn number(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("is {}, which is no whole number from {least} to {most}", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn environment<'a>(vars: &'a [(&str, &[u8])]) -> Environment<'a> {
        Environment::new(|name| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from_vec(value.to_vec()))
        })
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_a_warning_and_an_empty_one_is_none() {
        let mut env = environment(&[("A", b"\xff"), ("B", b"  "), ("C", b" 7 ")]);
        assert_eq!(env.read("A", "it is off", |text| Ok(text.to_owned())), Err(Broken));
        assert_eq!(env.read("B", "it is off", |_| -> Result<(), String> { Err("is".into()) }), Ok(None));
        assert_eq!(env.read("C", "it is off", number(0, 9)), Ok(Some(7)));
        assert_eq!(env.read("D", "it is off", number(0, 9)), Ok(None));
        let warnings: Vec<_> = env.into_warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["A is not UTF-8: it is off"]);
    }

    #[test]
    fn of_two_variables_the_one_of_traces_counts_unless_it_is_empty_or_ignored() {
        let traces = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
        let general = "OTEL_EXPORTER_OTLP_TIMEOUT";
        let of = |traces_value: &[u8]| {
            let vars = [(traces, traces_value), (general, &b"2"[..])];
            let mut env = environment(&vars);
            let value = env.otlp_or_ignore("TIMEOUT", "10 s are used", number(0, 9));
            (value.map(|(_, value)| value), env.otlp("TIMEOUT"), env.into_warnings().len())
        };
        assert_eq!(of(b"1"), (Some(1), Some(traces.to_owned()), 0));
        assert_eq!(of(b" "), (Some(2), Some(general.to_owned()), 0));
        assert_eq!(of(b"-1"), (Some(2), Some(traces.to_owned()), 1));
    }

    #[test]
    fn a_path_need_not_be_utf8() {
        let env = environment(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", b"/ca-\xff.pem")]);
        let (variable, path) = env.otlp_file("CERTIFICATE").unwrap();
        assert_eq!(variable, "OTEL_EXPORTER_OTLP_CERTIFICATE");
        assert_eq!(path.into_os_string().into_vec(), b"/ca-\xff.pem");
    }

    #[test]
    fn only_true_switches_on_and_anything_but_false_is_reported() {
        assert_eq!(switch("TRUE"), Ok(true));
        assert_eq!(switch("False"), Ok(false));
        for odd in ["yes", "1", "on", "truee"] {
            assert!(switch(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn numbers_have_bounds_and_no_signs_or_units() {
        let parse = number(1, 2_000);
        assert_eq!(parse("2000"), Ok(2_000));
        for bad in ["0", "2001", "-1", "1e3", "10s", "1.0", "99999999999999999999999", "NaN"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
