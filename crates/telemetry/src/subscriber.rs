//! The process's subscriber: log lines of events, and OpenTelemetry spans of spans.
//!
//! A span that nobody wants is not made. The filter of a layer only keeps a span from that layer: the registry makes it
//! as soon as any layer may want it, and those of h2 alone cost a third of a server's CPU. The log takes no spans, so that
//! without an exporter none is ever wanted, and [`SpanGate`] turns away what the exporter does not take.

use std::io::IsTerminal;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, Targets, dynamic_filter_fn};
use tracing_subscriber::layer::{self, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::LogFormat;
use crate::filter::TRANSPORT;
use crate::log::{Json, Text};

/// Makes the process's subscriber, unless `format` says that it has one.
///
/// # Errors
/// When the process has one already.
pub(crate) fn install(
    format: LogFormat,
    filter: EnvFilter,
    provider: Option<&SdkTracerProvider>,
) -> Result<(), TryInitError> {
    let filter = EventFilter(Arc::new(filter));
    let Some(log) = log_layer(format, filter.clone()) else { return Ok(()) };
    let subscriber = tracing_subscriber::registry().with(log);
    // Without an exporter there is no layer, rather than `None`: that would count as a layer that wants everything.
    match provider {
        None => subscriber.try_init(),
        Some(provider) => subscriber.with(span_layer(provider)).with(SpanGate::new(filter)).try_init(),
    }
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The log layer, or none when the process has its own.
fn log_layer(format: LogFormat, filter: EventFilter) -> Option<BoxedLayer<Registry>> {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Off => return None,
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Some(if json {
        layer.with_ansi(false).event_format(Json).with_filter(filter).boxed()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.with_ansi(colours).event_format(Text).with_filter(filter).boxed()
    })
}

/// The layer that turns `tracing` spans into OpenTelemetry spans: only inside a sampled context, so that nothing is
/// recorded of a handler span in an unsampled call.
///
/// A subscriber that may have to do without it is made without it, rather than with `None`: an absent layer counts as one
/// that wants everything, and every span of every crate is then made.
pub fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // A filter that names no level counts as one that allows all of them, whatever it is combined with.
    let sampled = dynamic_filter_fn(|_, _| is_sampled()).with_max_level_hint(LevelFilter::TRACE);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tracing"))
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(exported().and(sampled))
}

/// What is exported of a sampled call: from INFO on, and nothing of the transport.
fn exported() -> Targets {
    TRANSPORT.iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, name| {
        targets.with_target(*name, LevelFilter::OFF)
    })
}

fn is_sampled() -> bool {
    Context::map_current(|cx| cx.span().span_context().is_sampled())
}

/// The filter of the log, which takes events and no spans.
#[derive(Clone)]
struct EventFilter(Arc<EnvFilter>);

impl<S> Filter<S> for EventFilter {
    fn enabled(&self, metadata: &Metadata<'_>, cx: &layer::Context<'_, S>) -> bool {
        !metadata.is_span() && self.0.enabled(metadata, cx.clone())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() {
            return Interest::never();
        }
        Filter::<S>::callsite_enabled(&*self.0, metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }
}

/// Turns spans away for all layers together, before the registry makes them: an unsampled call pays one thread-local look
/// for a handler span.
struct SpanGate {
    log: EventFilter,
    exported: Targets,
}

impl SpanGate {
    fn new(log: EventFilter) -> Self {
        Self { log, exported: exported() }
    }

    fn exports(&self, metadata: &Metadata<'_>) -> bool {
        self.exported.would_enable(metadata.target(), metadata.level())
    }
}

impl<S: Subscriber> Layer<S> for SpanGate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.exports(metadata) {
            // Only if the call is sampled, or the log takes the event too.
            Interest::sometimes()
        } else if metadata.is_span() {
            Interest::never()
        } else {
            Filter::<S>::callsite_enabled(&self.log, metadata)
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: layer::Context<'_, S>) -> bool {
        !metadata.is_span() || (is_sampled() && self.exports(metadata))
    }

    /// The level of the other layers: this one adds nothing.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_format_off_installs_nothing() {
        let filter = EventFilter(Arc::new(EnvFilter::default()));
        assert!(log_layer(LogFormat::Off, filter).is_none());
    }
}
