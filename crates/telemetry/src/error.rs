//! Why telemetry could not be set up. What its variables say is never a reason: see [`Warning`](crate::Warning).

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The sampling ratio of the configuration file is not between 0 and 1.
    #[error("[telemetry] sampling_ratio must be between 0 and 1, not {0}")]
    SamplingRatio(f64),
    /// A metric could not be registered or rendered.
    #[error("metrics failed")]
    Metrics(#[source] prometheus::Error),
}
