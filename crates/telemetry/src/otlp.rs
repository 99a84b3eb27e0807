//! The settings of the OTLP exporter for traces, each by the variable of traces or by the one of all signals.
//!
//! Specification: OTLP exporter, "Configuration options". The exporter below reads some of them itself and passes over
//! what it does not understand: all are read here and handed to it.

use std::time::Duration;

use opentelemetry_sdk::trace::SpanLimits;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;

use crate::batch::{self, Batch};
use crate::config::TelemetryConfig;
use crate::endpoint::Target;
use crate::environment::{Broken, Environment, NO_EXPORT, number, switch};
use crate::warning::shown;
use crate::{headers, tls};

/// How long an export may take, by the specification.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for a connection attempt, however long an export may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The largest number of milliseconds; stands for no limit as well.
const MAX_MILLIS: u64 = i32::MAX as u64;

/// An export whose settings are good.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) endpoint: Endpoint,
    pub(crate) target: Target,
    pub(crate) metadata: MetadataMap,
    pub(crate) timeout: Duration,
    pub(crate) batch: Batch,
    pub(crate) limits: SpanLimits,
}

impl Export {
    /// The export that `env` and `config` ask for; `None` when they ask for none, or for one that cannot be used. All
    /// settings are checked, so that every fault is reported at once.
    pub(crate) fn read(env: &mut Environment<'_>, config: &TelemetryConfig) -> Option<Self> {
        if is_disabled(env) || !exporter_is_otlp(env) {
            return None;
        }
        let target = target(env, config)?;
        let protocol = protocol(env);
        let timeout = timeout(env);
        let metadata = metadata(env);
        compression(env);
        let batch = Batch::read(env);
        let limits = batch::limits(env);
        let connection = connection(env, target, timeout);
        let ((), metadata, (endpoint, target)) = (protocol.ok()?, metadata.ok()?, connection.ok()?);
        Some(Self { endpoint, target, metadata, timeout, batch, limits })
    }
}

fn is_disabled(env: &mut Environment<'_>) -> bool {
    env.read_or_ignore("OTEL_SDK_DISABLED", "traces are not disabled", switch).unwrap_or(false)
}

fn exporter_is_otlp(env: &mut Environment<'_>) -> bool {
    let parse = |text: &str| {
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        match names.iter().find(|name| !matches!(name.as_str(), "otlp" | "none" | "")) {
            Some(_) => Err(format!("is {}, and only otlp and none are known here", shown(text))),
            None => Ok(names.iter().any(|name| name == "otlp")),
        }
    };
    env.read_or_ignore("OTEL_TRACES_EXPORTER", "otlp is used", parse).unwrap_or(true)
}

/// Where spans go, and the setting that says so; `None` when nothing does.
fn target(env: &mut Environment<'_>, config: &TelemetryConfig) -> Option<Result<(String, Target), Broken>> {
    let insecure = env.otlp_or_ignore("INSECURE", "false is used", switch);
    let insecure = insecure.is_some_and(|(_, insecure)| insecure);
    let parse = |text: &str| Target::parse(text, insecure);
    let (setting, parsed) = match env.otlp("ENDPOINT") {
        Some(variable) => {
            let parsed = env.read(&variable, NO_EXPORT, parse);
            (variable, parsed)
        }
        None => {
            let setting = "[telemetry] otlp_endpoint";
            let text = config.otlp_endpoint.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
            let parsed = parse(text).map(Some).map_err(|fault| {
                env.warn(setting, fault, NO_EXPORT);
                Broken
            });
            (setting.to_owned(), parsed)
        }
    };
    let parsed = parsed.transpose()?;
    Some(parsed.map(|parsed| {
        if parsed.unused_path {
            let fault = "has a path or a query, which OTLP over gRPC does not know";
            env.warn(&setting, fault, "it is not used");
        }
        (setting, parsed.target)
    }))
}

/// OTLP over HTTP is not implemented: a setting that asks for it names a collector that does not speak gRPC.
fn protocol(env: &mut Environment<'_>) -> Result<(), Broken> {
    let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
        "grpc" => Ok(true),
        "http/protobuf" | "http/json" => Ok(false),
        _ => Err(format!("is {}, which is no protocol of OTLP", shown(text))),
    };
    match env.otlp_or_ignore("PROTOCOL", "grpc is used", parse) {
        Some((variable, false)) => {
            env.warn(variable, "is OTLP over HTTP, and only grpc is known here", NO_EXPORT);
            Err(Broken)
        }
        _ => Ok(()),
    }
}

fn timeout(env: &mut Environment<'_>) -> Duration {
    let given = env.otlp_or_ignore("TIMEOUT", "10000 ms is used", number(0, MAX_MILLIS));
    match given {
        // Specification: 0 means no limit; a very long time stands for it.
        Some((_, 0)) => Duration::from_millis(MAX_MILLIS),
        Some((_, millis)) => Duration::from_millis(millis),
        None => TIMEOUT,
    }
}

fn metadata(env: &mut Environment<'_>) -> Result<MetadataMap, Broken> {
    let Some(variable) = env.otlp("HEADERS") else { return Ok(MetadataMap::new()) };
    Ok(env.read(&variable, NO_EXPORT, headers::parse)?.unwrap_or_default())
}

fn compression(env: &mut Environment<'_>) {
    let parse = |text: &str| {
        let none = text.eq_ignore_ascii_case("none");
        none.then_some(()).ok_or_else(|| format!("is {}, and only none is known here", shown(text)))
    };
    env.otlp_or_ignore("COMPRESSION", "spans are not compressed", parse);
}

/// The endpoint as tonic takes it, with TLS if the target asks for it.
fn connection(
    env: &mut Environment<'_>,
    target: Result<(String, Target), Broken>,
    timeout: Duration,
) -> Result<(Endpoint, Target), Broken> {
    let tls = match &target {
        Ok((_, target)) if !target.uses_tls() => {
            tls::is_unused(env);
            None
        }
        Ok(_) => Some(tls::config(env, tls::Ca::Needed)?),
        // Whether TLS was meant is unknown: the files are checked if any are named.
        Err(Broken) => Some(tls::config(env, tls::Ca::IfGiven)?),
    };
    let (setting, target) = target?;
    let connect = timeout.min(CONNECT);
    let endpoint = target.endpoint().map(|endpoint| endpoint.timeout(timeout).connect_timeout(connect));
    let endpoint = match (endpoint, tls) {
        (Some(endpoint), Some(tls)) => endpoint.tls_config(tls.timeout(connect)).ok(),
        (endpoint, _) => endpoint,
    };
    // The files have been checked: what can still fail is a host that no certificate can be for.
    endpoint.map(|endpoint| (endpoint, target)).ok_or_else(|| {
        env.warn(setting, "names a host that cannot be connected to", NO_EXPORT);
        Broken
    })
}

#[cfg(test)]
mod tests;
