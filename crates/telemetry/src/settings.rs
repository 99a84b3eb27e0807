//! The effective telemetry settings: the `[telemetry]` section, overridden by the `OTEL_*` variables.
//!
//! The standard variables win over the file, as OpenTelemetry users expect. Most of them are ignored by the Rust SDK, or
//! read by rules of its own, and are honoured here. Nothing they say stops a process: a value that cannot be used is
//! reported as a [`Warning`], as the OpenTelemetry specification asks.

use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::filter;
use crate::otlp::Export;
use crate::resource::Described;
use crate::sampling::{Root, Sampling};
use crate::warning::shown;
use crate::{LogFormat, TelemetryConfig, TelemetryError, Warning};

/// The settings that follow from [`TelemetryConfig`] and the environment.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) log_format: LogFormat,
    pub(crate) filter: EnvFilter,
    pub(crate) described: Described,
    pub(crate) sampling: Sampling,
    pub(crate) propagate: bool,
    pub(crate) export: Option<Export>,
    pub(crate) warnings: Vec<Warning>,
}

impl Settings {
    /// Merges `config` with the environment, and reads the files that the environment names.
    pub(crate) fn resolve(
        service_name: &str,
        config: &TelemetryConfig,
        mut env: Environment<'_>,
    ) -> Result<Self, TelemetryError> {
        if !(0.0..=1.0).contains(&config.sampling_ratio) {
            return Err(TelemetryError::SamplingRatio(config.sampling_ratio));
        }
        Ok(Self {
            log_format: config.log_format,
            filter: log_filter(&mut env, config),
            described: Described::read(&mut env, service_name),
            sampling: sampling(&mut env, config.sampling_ratio),
            propagate: propagates(&mut env),
            export: Export::read(&mut env, config),
            warnings: env.into_warnings(),
        })
    }
}

/// The filter of `RUST_LOG`, else of the file. When it cannot be used, [`filter::DEFAULT`] is: the other one may be
/// so quiet that nobody would see the warning.
fn log_filter(env: &mut Environment<'_>, config: &TelemetryConfig) -> EnvFilter {
    const CONSEQUENCE: &str = "`info` is used";
    let default = || filter::parse(filter::DEFAULT).unwrap_or_default();
    // A process with a subscriber of its own has its own reading of the variable too.
    if config.log_format == LogFormat::Off {
        return default();
    }
    match env.read("RUST_LOG", CONSEQUENCE, filter::parse) {
        Ok(Some(filter)) => filter,
        Err(_) => default(),
        Ok(None) if config.log.trim().is_empty() => default(),
        Ok(None) => filter::parse(&config.log).unwrap_or_else(|fault| {
            env.warn("[telemetry] log", fault, CONSEQUENCE);
            default()
        }),
    }
}

fn propagates(env: &mut Environment<'_>) -> bool {
    const NAME: &str = "OTEL_PROPAGATORS";
    const USED: &str = "tracecontext is used";
    // Baggage is untrusted across trust domains: it is neither read nor passed on.
    let known = |name: &String| matches!(name.as_str(), "tracecontext" | "baggage" | "none");
    let names = |list: &str| {
        let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
        Ok(names.filter(|name| !name.is_empty()).partition::<Vec<_>, _>(known))
    };
    let Some((known, unknown)) = env.read_or_ignore(NAME, USED, names) else { return true };
    let propagates = known.is_empty() || known.iter().any(|name| name == "tracecontext");
    if !unknown.is_empty() {
        let fault = format!("names what is not known here ({})", shown(&unknown.join(",")));
        env.warn(NAME, fault, if propagates { USED } else { "no trace context is passed on" });
    }
    propagates
}

fn sampling(env: &mut Environment<'_>, configured: f64) -> Sampling {
    let sampler = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let (parent_based, kind) = match lower.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, lower.as_str()),
        };
        let root = match kind {
            "always_on" => Some(Root::Always),
            "always_off" => Some(Root::Never),
            // By the argument.
            "traceidratio" => None,
            _ => return Err(format!("is {}, which is not known here", shown(name))),
        };
        Ok((parent_based, root))
    };
    let given = env.read_or_ignore("OTEL_TRACES_SAMPLER", "[telemetry] sampling_ratio is used", sampler);
    let Some((parent_based, root)) = given else {
        return Sampling { root: Root::ratio(configured), parent_based: true };
    };
    Sampling { root: root.unwrap_or_else(|| Root::ratio(sampler_argument(env))), parent_based }
}

/// The ratio in `OTEL_TRACES_SAMPLER_ARG`; 1 when it is absent or unusable, as the specification says.
fn sampler_argument(env: &mut Environment<'_>) -> f64 {
    let ratio = |text: &str| match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("is {}, which is no number from 0 to 1", shown(text))),
    };
    env.read_or_ignore("OTEL_TRACES_SAMPLER_ARG", "1 is used", ratio).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(config: &TelemetryConfig, vars: &[(&str, &str)]) -> Settings {
        let env = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Settings::resolve("orders", config, Environment::new(env)).unwrap()
    }

    /// What the warnings say, with the settings and the default configuration.
    fn warnings(vars: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let settings = resolve(&TelemetryConfig::default(), vars);
        let warnings = settings.warnings.iter().map(ToString::to_string).collect();
        (settings, warnings)
    }

    #[test]
    fn nothing_is_exported_until_an_endpoint_is_named() {
        let (settings, warnings) = warnings(&[]);
        assert!(settings.export.is_none() && warnings.is_empty());
        assert_eq!(settings.described.service_name, "orders");
        assert!(settings.propagate);
        assert_eq!(settings.sampling, Sampling { root: Root::ratio(0.01), parent_based: true });
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let names =
            ["OTEL_SERVICE_NAME", "OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER", "RUST_LOG", "OTEL_SDK_DISABLED"];
        let (settings, warnings) = warnings(&names.map(|name| (name, " ")));
        assert_eq!(settings.described.service_name, "orders");
        assert!(settings.propagate && warnings.is_empty());
    }

    #[test]
    fn propagators_none_and_baggage_alone_carry_no_context() {
        for (list, propagates) in
            [("none", false), ("baggage", false), ("baggage,TraceContext", true), (",", true)]
        {
            let (settings, warnings) = warnings(&[("OTEL_PROPAGATORS", list)]);
            assert_eq!((settings.propagate, warnings.len()), (propagates, 0), "{list}");
        }
    }

    #[test]
    fn unknown_propagators_are_one_warning_and_the_known_ones_or_the_default_are_used() {
        for (list, propagates) in
            [("b3,xray,tracecontext", true), ("b3,xray,none", false), ("tracecontxt,b3", true)]
        {
            let (settings, warnings) = warnings(&[("OTEL_PROPAGATORS", list)]);
            assert_eq!((settings.propagate, warnings.len()), (propagates, 1), "{list}: {warnings:?}");
        }
    }

    #[test]
    fn every_standard_sampler_is_understood_without_regard_to_case() {
        let of = |name| warnings(&[("OTEL_TRACES_SAMPLER", name)]).0.sampling;
        assert_eq!(of("always_on"), Sampling { root: Root::Always, parent_based: false });
        assert_eq!(of("Always_Off"), Sampling { root: Root::Never, parent_based: false });
        assert_eq!(of("parentbased_always_on"), Sampling { root: Root::Always, parent_based: true });
        assert_eq!(of("PARENTBASED_always_off"), Sampling { root: Root::Never, parent_based: true });
        assert_eq!(of("traceidratio"), Sampling { root: Root::ratio(1.0), parent_based: false });
        let quarter =
            &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        assert_eq!(warnings(quarter).0.sampling, Sampling { root: Root::ratio(0.25), parent_based: true });
    }

    #[test]
    fn an_unknown_sampler_or_argument_is_a_warning_and_the_default() {
        let (odd, told) = warnings(&[("OTEL_TRACES_SAMPLER", "xray")]);
        assert_eq!(odd.sampling, Sampling { root: Root::ratio(0.01), parent_based: true });
        assert_eq!(
            told,
            ["OTEL_TRACES_SAMPLER is `xray`, which is not known here: [telemetry] sampling_ratio is used"]
        );
        for argument in ["7", "-0.1", "NaN", "half", "0,5", "1e400"] {
            let vars = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let (odd, told) = warnings(&vars);
            assert_eq!((odd.sampling.root, told.len()), (Root::ratio(1.0), 1), "{argument}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_used_is_a_warning_and_info_wherever_it_stands() {
        let info = filter::parse("info").unwrap().to_string();
        let quiet = TelemetryConfig { log: "error".into(), ..Default::default() };
        for bad in ["orders=louder", "inof", "\u{fffd}"] {
            let settings = resolve(&quiet, &[("RUST_LOG", bad)]);
            assert_eq!(settings.filter.to_string(), info, "{bad}");
            assert_eq!(settings.warnings.len(), 1, "{bad}");
            let settings = resolve(&TelemetryConfig { log: bad.into(), ..Default::default() }, &[]);
            assert_eq!(settings.filter.to_string(), info, "{bad}");
            assert_eq!(settings.warnings.first().unwrap().setting(), "[telemetry] log");
        }
    }

    #[test]
    fn a_good_filter_of_the_environment_hides_a_bad_one_of_the_file() {
        let bad = TelemetryConfig { log: "orders=louder".into(), ..Default::default() };
        let settings = resolve(&bad, &[("RUST_LOG", "warn")]);
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        assert!(settings.filter.to_string().ends_with("warn"));
        let own = TelemetryConfig { log_format: LogFormat::Off, ..bad };
        assert!(resolve(&own, &[("RUST_LOG", "orders=louder")]).warnings.is_empty());
    }

    #[test]
    fn a_ratio_outside_zero_to_one_in_the_file_is_refused() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            let config = TelemetryConfig { sampling_ratio: ratio, ..Default::default() };
            assert!(Settings::resolve("orders", &config, Environment::new(|_| None)).is_err());
        }
    }
}
