//! What the `[telemetry]` section of a configuration file may say.

use serde::{Deserialize, Serialize};

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
    /// Log filter in the syntax of `RUST_LOG`, which wins over it; default `info`, which also stands in for one that
    /// cannot be used.
    pub log: String,
    /// Share of new traces that are recorded, 0 to 1; default 0.01. A caller's own decision is respected.
    /// `OTEL_TRACES_SAMPLER` wins over it.
    pub sampling_ratio: f64,
    /// OTLP/gRPC endpoint, for example `http://127.0.0.1:4317`. Without one (here or in
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`) nothing is exported and no span is built; nor when it cannot be used.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_in_the_section_is_refused() {
        assert!(toml::from_str::<TelemetryConfig>("log = 'debug'").is_ok());
        assert!(toml::from_str::<TelemetryConfig>("lgo = 'debug'").is_err());
        assert!(toml::from_str::<TelemetryConfig>("log_format = 'xml'").is_err());
    }
}
