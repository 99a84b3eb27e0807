//! Configuration of telemetry: what the `[telemetry]` section may say, and what comes of it once the `OTEL_*`
//! variables have had their word.
//!
//! The standard variables win over the file, as OpenTelemetry users expect. Several of them (`OTEL_SDK_DISABLED`,
//! `OTEL_PROPAGATORS`, `OTEL_EXPORTER_OTLP_CERTIFICATE` and the client key pair) are ignored by the Rust SDK and are
//! honoured here. An unknown value of a standard variable is reported as a warning and skipped, as the OpenTelemetry
//! specification asks; an impossible value in our own file is an error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sampling::{Root, Sampling};
use crate::setup::TelemetryError;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line of text for people.
    Text,
    /// One JSON object a line.
    Json,
    /// Install no log subscriber at all: for a process that has its own.
    Off,
}

/// The `[telemetry]` section of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look: `auto`, `text`, `json` or `off`.
    pub log_format: LogFormat,
    /// Log filter in the syntax of `RUST_LOG`, which wins over it; default `info`.
    pub log: String,
    /// Share of new traces that are recorded, 0 to 1; default 0.01. A caller's own decision is respected.
    /// `OTEL_TRACES_SAMPLER` wins over it.
    pub sampling_ratio: f64,
    /// OTLP/gRPC endpoint, for example `http://127.0.0.1:4317`. Without one (here or in
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`) nothing is exported and no span is built.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log: "info".to_owned(),
            sampling_ratio: 0.01,
            otlp_endpoint: None,
        }
    }
}

/// Certificates for an `https` collector, from the standard variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ExportTls {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// What [`TelemetryConfig`] and the environment come to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
    pub(crate) service_name: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) tls: ExportTls,
    pub(crate) sampling: Sampling,
    pub(crate) propagate: bool,
    pub(crate) queue_size_given: bool,
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Merges `config` with the environment as read through `env`.
    pub(crate) fn resolve(
        service_name: &str,
        config: &TelemetryConfig,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TelemetryError> {
        let env = |name: &str| env(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let mut warnings = Vec::new();
        if !(0.0..=1.0).contains(&config.sampling_ratio) {
            return Err(TelemetryError::SamplingRatio(config.sampling_ratio));
        }
        let disabled = env("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let endpoint = if disabled || !traces_exporter_is_otlp(&env, &mut warnings) {
            None
        } else {
            env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
                .or_else(|| env("OTEL_EXPORTER_OTLP_ENDPOINT"))
                .or_else(|| config.otlp_endpoint.clone())
        };
        Ok(Self {
            log_format: config.log_format,
            log: env("RUST_LOG").unwrap_or_else(|| config.log.clone()),
            service_name: env("OTEL_SERVICE_NAME")
                .or_else(|| env("OTEL_RESOURCE_ATTRIBUTES").and_then(|all| service_name_in(&all)))
                .unwrap_or_else(|| service_name.to_owned()),
            endpoint,
            tls: ExportTls {
                ca: signal(&env, "CERTIFICATE").map(PathBuf::from),
                client: signal(&env, "CLIENT_CERTIFICATE")
                    .zip(signal(&env, "CLIENT_KEY"))
                    .map(|(certificate, key)| (certificate.into(), key.into())),
            },
            sampling: sampling(config.sampling_ratio, &env, &mut warnings),
            propagate: propagates(&env, &mut warnings),
            queue_size_given: env("OTEL_BSP_MAX_QUEUE_SIZE").is_some(),
            warnings,
        })
    }
}

/// `OTEL_EXPORTER_OTLP_TRACES_<name>`, else `OTEL_EXPORTER_OTLP_<name>`.
fn signal(env: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    env(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| env(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn service_name_in(attributes: &str) -> Option<String> {
    attributes
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim() == "service.name")
        .map(|(_, value)| value.trim().to_owned())
}

fn traces_exporter_is_otlp(env: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> bool {
    match env("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => true,
        Some("none") => false,
        Some(other) => {
            warnings.push(format!("OTEL_TRACES_EXPORTER={other} is not known here (otlp, none): using otlp"));
            true
        }
    }
}

fn propagates(env: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> bool {
    let Some(list) = env("OTEL_PROPAGATORS") else { return true };
    let mut tracecontext = false;
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "tracecontext" => tracecontext = true,
            // Baggage is untrusted across trust domains: it is neither read nor passed on.
            "none" | "baggage" => {}
            other => warnings.push(format!("OTEL_PROPAGATORS names {other}, which is not known here")),
        }
    }
    tracecontext
}

fn sampling(configured: f64, env: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Sampling {
    let default = Sampling { root: Root::ratio(configured), parent_based: true };
    let Some(name) = env("OTEL_TRACES_SAMPLER") else { return default };
    let (parent_based, kind) = match name.strip_prefix("parentbased_") {
        Some(kind) => (true, kind),
        None => (false, name.as_str()),
    };
    let root = match kind {
        "always_on" => Root::Always,
        "always_off" => Root::Never,
        "traceidratio" => Root::ratio(sampler_argument(env, warnings)),
        _ => {
            warnings.push(format!("OTEL_TRACES_SAMPLER={name} is not known here: using {configured}"));
            return default;
        }
    };
    Sampling { root, parent_based }
}

/// The ratio in `OTEL_TRACES_SAMPLER_ARG`; 1 when it is absent or unusable, as the specification says.
fn sampler_argument(env: &impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> f64 {
    let Some(text) = env("OTEL_TRACES_SAMPLER_ARG") else { return 1.0 };
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            warnings.push(format!("OTEL_TRACES_SAMPLER_ARG={text} is not a number from 0 to 1: using 1"));
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(config: &TelemetryConfig, vars: &[(&str, &str)]) -> Settings {
        let env = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Settings::resolve("orders", config, env).unwrap()
    }

    #[test]
    fn nothing_is_exported_until_an_endpoint_is_named() {
        let settings = resolve(&TelemetryConfig::default(), &[]);
        assert_eq!(settings.endpoint, None);
        assert_eq!(settings.service_name, "orders");
        assert!(settings.propagate);
        assert_eq!(settings.sampling, Sampling { root: Root::ratio(0.01), parent_based: true });
    }

    #[test]
    fn the_traces_endpoint_wins_over_the_general_one_and_over_the_file() {
        let config = TelemetryConfig { otlp_endpoint: Some("http://file:1".into()), ..Default::default() };
        assert_eq!(resolve(&config, &[]).endpoint.as_deref(), Some("http://file:1"));
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1");
        assert_eq!(resolve(&config, &[general]).endpoint.as_deref(), Some("http://general:1"));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1");
        assert_eq!(resolve(&config, &[general, traces]).endpoint.as_deref(), Some("http://traces:1"));
    }

    #[test]
    fn a_disabled_sdk_and_the_exporter_none_export_nothing() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let config = TelemetryConfig::default();
        assert_eq!(resolve(&config, &[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]).endpoint, None);
        assert_eq!(resolve(&config, &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).endpoint, None);
        assert!(resolve(&config, &[endpoint, ("OTEL_SDK_DISABLED", "yes")]).endpoint.is_some());
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let settings = resolve(
            &TelemetryConfig::default(),
            &[("OTEL_SERVICE_NAME", ""), ("OTEL_PROPAGATORS", " "), ("OTEL_TRACES_SAMPLER", "")],
        );
        assert_eq!(settings.service_name, "orders");
        assert!(settings.propagate);
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn the_service_name_comes_from_its_variable_then_from_the_resource_attributes() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "team=market, service.name = a");
        let config = TelemetryConfig::default();
        assert_eq!(resolve(&config, &[attributes]).service_name, "a");
        assert_eq!(resolve(&config, &[attributes, ("OTEL_SERVICE_NAME", "b")]).service_name, "b");
    }

    #[test]
    fn propagators_none_and_baggage_alone_carry_no_context() {
        let config = TelemetryConfig::default();
        assert!(!resolve(&config, &[("OTEL_PROPAGATORS", "none")]).propagate);
        assert!(!resolve(&config, &[("OTEL_PROPAGATORS", "baggage")]).propagate);
        assert!(resolve(&config, &[("OTEL_PROPAGATORS", "baggage,tracecontext")]).propagate);
        let odd = resolve(&config, &[("OTEL_PROPAGATORS", "b3,tracecontext")]);
        assert!(odd.propagate);
        assert_eq!(odd.warnings.len(), 1);
    }

    #[test]
    fn every_standard_sampler_is_understood() {
        let config = TelemetryConfig::default();
        let of = |name| resolve(&config, &[("OTEL_TRACES_SAMPLER", name)]).sampling;
        assert_eq!(of("always_on"), Sampling { root: Root::Always, parent_based: false });
        assert_eq!(of("always_off"), Sampling { root: Root::Never, parent_based: false });
        assert_eq!(of("parentbased_always_on"), Sampling { root: Root::Always, parent_based: true });
        assert_eq!(of("parentbased_always_off"), Sampling { root: Root::Never, parent_based: true });
        assert_eq!(of("traceidratio"), Sampling { root: Root::ratio(1.0), parent_based: false });
        let quarter =
            &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        assert_eq!(
            resolve(&config, quarter).sampling,
            Sampling { root: Root::ratio(0.25), parent_based: true }
        );
    }

    #[test]
    fn an_unknown_sampler_or_argument_is_a_warning_and_not_a_failure() {
        let config = TelemetryConfig::default();
        let odd = resolve(&config, &[("OTEL_TRACES_SAMPLER", "xray")]);
        assert_eq!(odd.sampling, Sampling { root: Root::ratio(0.01), parent_based: true });
        assert_eq!(odd.warnings.len(), 1);
        let odd =
            resolve(&config, &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "7")]);
        assert_eq!(odd.sampling.root, Root::ratio(1.0));
        assert_eq!(odd.warnings.len(), 1);
    }

    #[test]
    fn a_ratio_outside_zero_to_one_in_the_file_is_refused() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            let config = TelemetryConfig { sampling_ratio: ratio, ..Default::default() };
            assert!(Settings::resolve("orders", &config, |_| None).is_err());
        }
    }

    #[test]
    fn an_unknown_key_in_the_section_is_refused() {
        assert!(toml::from_str::<TelemetryConfig>("log = 'debug'").is_ok());
        assert!(toml::from_str::<TelemetryConfig>("lgo = 'debug'").is_err());
        assert!(toml::from_str::<TelemetryConfig>("log_format = 'xml'").is_err());
    }

    #[test]
    fn a_client_certificate_without_its_key_is_not_used() {
        let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem");
        let key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/k.pem");
        let config = TelemetryConfig::default();
        assert_eq!(resolve(&config, &[certificate]).tls.client, None);
        assert!(resolve(&config, &[certificate, key]).tls.client.is_some());
    }
}
