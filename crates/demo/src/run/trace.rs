//! The trace that the demo begins itself: the storefront's start and its first order are below it.

use std::cell::Cell;
use std::collections::BTreeMap;

use avouch_text::hex;

use crate::otlp::{Collector, Kind, SpanRecord};
use crate::setup::SetupError;

/// The trace of the first order: begun by the demo itself.
pub(super) struct FirstTrace {
    pub(super) trace_id: [u8; 16],
    root: [u8; 8],
    pub(super) start_ns: Cell<u64>,
}

impl FirstTrace {
    pub(super) fn new() -> Result<Self, SetupError> {
        let (mut trace_id, mut root) = ([0; 16], [0; 8]);
        let random = |bytes: &mut [u8]| {
            aws_lc_rs::rand::fill(bytes).map_err(|_| SetupError::Other("the system has no randomness".into()))
        };
        random(&mut trace_id)?;
        random(&mut root)?;
        Ok(Self { trace_id, root, start_ns: Cell::new(0) })
    }

    /// W3C trace context, sampled.
    pub(super) fn parent(&self) -> String {
        format!("00-{}-{}-01", hex::encode(&self.trace_id), hex::encode(&self.root))
    }

    /// Adds the root to the spans, as long as all that is below it.
    pub(super) fn end(&self, collector: &Collector) {
        let below = collector.spans().into_iter().filter(|span| span.trace_id == self.trace_id);
        let end_ns = below.map(|span| span.end_ns).max().unwrap_or(self.start_ns.get());
        collector.add(&SpanRecord {
            service: "demo".into(),
            trace_id: self.trace_id.to_vec(),
            span_id: self.root.to_vec(),
            parent_id: Vec::new(),
            name: "start and first order".into(),
            kind: Kind::Internal,
            start_ns: self.start_ns.get(),
            end_ns,
            attributes: BTreeMap::new(),
        });
    }
}
