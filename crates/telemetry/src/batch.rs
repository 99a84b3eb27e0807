//! The settings of the batch span processor (`OTEL_BSP_*`), and the limits of a span.
//!
//! They are read here because the SDK ignores what it cannot parse, allocates the whole queue at once whatever its
//! size, and spins when the delay is 0.

use std::time::Duration;

use opentelemetry_sdk::trace::{BatchConfig, BatchConfigBuilder, SpanLimits};

use crate::environment::{Environment, number};

/// Spans that may wait for the exporter, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
const QUEUE: usize = 16_384;

/// The longest queue: its memory, about 100 MB, is allocated at the start.
const MAX_QUEUE: u64 = 1 << 18;

/// Spans in one request, by the specification.
const BATCH: usize = 512;

/// Milliseconds between two exports, by the specification.
const DELAY: u64 = 5_000;

/// The largest number the specification asks implementations for.
const MAX: u64 = i32::MAX as u64;

/// The batch processor's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) queue: usize,
    pub(crate) size: usize,
    pub(crate) delay: Duration,
}

impl Batch {
    pub(crate) fn read(env: &mut Environment<'_>) -> Self {
        let queue = env
            .read_or_ignore("OTEL_BSP_MAX_QUEUE_SIZE", "16384 is used", number(1, MAX_QUEUE))
            .map_or(QUEUE, size);
        let most = u64::try_from(queue).unwrap_or(MAX_QUEUE);
        let batch = env.read_or_ignore(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "512 is used, or the queue size if that is less",
            number(1, most),
        );
        let delay = env.read_or_ignore("OTEL_BSP_SCHEDULE_DELAY", "5000 ms is used", number(1, MAX));
        // Exports run one after the other here, and OTEL_EXPORTER_OTLP_TIMEOUT bounds each.
        env.read_or_ignore("OTEL_BSP_EXPORT_TIMEOUT", "it has no effect here anyway", number(0, MAX));
        Self {
            queue,
            size: batch.map_or(BATCH.min(queue), size),
            delay: Duration::from_millis(delay.unwrap_or(DELAY)),
        }
    }

    pub(crate) fn config(self) -> BatchConfig {
        BatchConfigBuilder::default()
            .with_max_queue_size(self.queue)
            .with_max_export_batch_size(self.size)
            .with_scheduled_delay(self.delay)
            .build()
    }
}

/// The limits that the SDK enforces.
pub(crate) fn limits(env: &mut Environment<'_>) -> SpanLimits {
    let mut limits = SpanLimits::default();
    for (name, limit) in [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &mut limits.max_attributes_per_span),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", &mut limits.max_events_per_span),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", &mut limits.max_links_per_span),
    ] {
        let given = env.read_or_ignore(name, "128 is used", number(0, MAX));
        if let Some(given) = given.and_then(|given| u32::try_from(given).ok()) {
            *limit = given;
        }
    }
    limits
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(QUEUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (Batch, usize) {
        let mut env =
            Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into()));
        let batch = Batch::read(&mut env);
        (batch, env.into_warnings().len())
    }

    const DEFAULT: Batch = Batch { queue: QUEUE, size: BATCH, delay: Duration::from_secs(5) };

    #[test]
    fn what_is_given_is_used() {
        assert_eq!(read(&[]), (DEFAULT, 0));
        let given = read(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ]);
        assert_eq!(given, (Batch { queue: 100, size: 100, delay: Duration::from_millis(200) }, 0));
        assert_eq!(read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "7")]).0.size, 7);
    }

    #[test]
    fn a_number_that_would_take_all_memory_or_spin_is_a_warning_and_the_default() {
        for (name, values) in [
            ("OTEL_BSP_MAX_QUEUE_SIZE", &["0", "-1", "many", "99999999999", "18446744073709551615"][..]),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &["0", "16385", "1.5"]),
            ("OTEL_BSP_SCHEDULE_DELAY", &["0", "5s", "18446744073709551615"]),
            ("OTEL_BSP_EXPORT_TIMEOUT", &["soon"]),
        ] {
            for value in values {
                assert_eq!(read(&[(name, value)]), (DEFAULT, 1), "{name}={value}");
            }
        }
    }

    #[test]
    fn limits_of_a_span_are_read_and_a_malformed_one_is_the_default() {
        let vars = [("OTEL_SPAN_EVENT_COUNT_LIMIT", "3"), ("OTEL_SPAN_LINK_COUNT_LIMIT", "all")];
        let mut env =
            Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into()));
        let limits = limits(&mut env);
        assert_eq!((limits.max_events_per_span, limits.max_links_per_span), (3, 128));
        assert_eq!(env.into_warnings().len(), 1);
    }
}
