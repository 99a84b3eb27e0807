//! The head-sampling decision, taken before anything is built.
//!
//! The SDK samples while it builds a span, which is too late for us. The decision here uses the same arithmetic as
//! OpenTelemetry's `TraceIdRatioBased`, so that processes with different SDKs agree on a trace.

use std::cell::Cell;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// What happens to a trace nobody has decided on yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// Record every trace.
    Always,
    /// Record none.
    Never,
    /// Record the traces whose id falls below this bound (of 2⁶³).
    Below(u64),
}

impl Root {
    /// The root decision that records `ratio` (0 to 1) of all traces.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the ratio is between 0 and 1, so the product is within the 63 bits compared"
    )]
    pub(crate) fn ratio(ratio: f64) -> Self {
        if ratio >= 1.0 {
            Self::Always
        } else if ratio > 0.0 {
            Self::Below((ratio * (1u64 << 63) as f64) as u64)
        } else {
            Self::Never
        }
    }

    fn samples(self, trace_id: TraceId) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Below(bound) => {
                let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1) < bound
            }
        }
    }
}

/// A sampler: what to do with roots, and whether a caller's decision is respected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    pub(crate) root: Root,
    pub(crate) parent_based: bool,
}

impl Sampling {
    /// Whether the call below `parent` is recorded.
    pub(crate) fn follows(self, parent: &SpanContext) -> bool {
        if self.parent_based { parent.is_sampled() } else { self.root.samples(parent.trace_id()) }
    }

    /// Decides on a new trace: its id if it is recorded.
    pub(crate) fn root(self) -> Result<TraceId, TraceId> {
        let trace_id = RandomIdGenerator::default().new_trace_id();
        if self.root.samples(trace_id) { Ok(trace_id) } else { Err(trace_id) }
    }
}

/// A fresh random span id.
pub(crate) fn span_id() -> SpanId {
    RandomIdGenerator::default().new_span_id()
}

thread_local! {
    static NEXT_TRACE_ID: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Id generator of the SDK's provider: a root span takes the trace id the sampling decision was made on.
#[derive(Debug, Default)]
pub(crate) struct DecidedIds(RandomIdGenerator);

impl DecidedIds {
    /// Runs `build`, in which a new root span gets `trace_id`.
    pub(crate) fn with<T>(trace_id: TraceId, build: impl FnOnce() -> T) -> T {
        NEXT_TRACE_ID.set(Some(trace_id));
        let built = build();
        NEXT_TRACE_ID.set(None);
        built
    }
}

impl IdGenerator for DecidedIds {
    fn new_trace_id(&self) -> TraceId {
        NEXT_TRACE_ID.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

    fn parent(trace_id: TraceId, flags: TraceFlags) -> SpanContext {
        SpanContext::new(trace_id, SpanId::from(7), flags, true, TraceState::NONE)
    }

    #[test]
    fn a_parent_based_sampler_never_overrules_the_caller() {
        let never = Sampling { root: Root::Never, parent_based: true };
        let always = Sampling { root: Root::Always, parent_based: true };
        assert!(never.follows(&parent(TraceId::from(9), TraceFlags::SAMPLED)));
        assert!(!always.follows(&parent(TraceId::from(9), TraceFlags::default())));
    }

    #[test]
    fn a_sampler_that_is_not_parent_based_ignores_the_callers_flag() {
        let never = Sampling { root: Root::Never, parent_based: false };
        assert!(!never.follows(&parent(TraceId::from(9), TraceFlags::SAMPLED)));
    }

    #[test]
    fn the_ratio_decides_by_the_trace_id_as_the_sdk_does() {
        use opentelemetry::trace::SpanKind;
        use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
        let ours = Root::ratio(0.3);
        let theirs = Sampler::TraceIdRatioBased(0.3);
        for _ in 0..2_000 {
            let id = RandomIdGenerator::default().new_trace_id();
            let result = theirs.should_sample(None, id, "x", &SpanKind::Server, &[], &[]);
            assert_eq!(ours.samples(id), result.decision == SamplingDecision::RecordAndSample);
        }
    }

    #[test]
    fn zero_and_one_are_never_and_always() {
        assert_eq!(Root::ratio(0.0), Root::Never);
        assert_eq!(Root::ratio(1.0), Root::Always);
    }

    #[test]
    fn a_decided_trace_id_is_used_once() {
        let ids = DecidedIds::default();
        let wanted = TraceId::from(42);
        let (first, second) = DecidedIds::with(wanted, || (ids.new_trace_id(), ids.new_trace_id()));
        assert_eq!(first, wanted);
        assert_ne!(second, wanted);
    }
}
