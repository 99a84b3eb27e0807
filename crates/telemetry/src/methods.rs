//! The table of known RPC methods: per method its name and its duration histograms, one per gRPC status.
//!
//! A histogram is resolved the first time a method ends with a status and costs one atomic load afterwards; a series
//! without observations is not exported. Paths outside the table share the name `_OTHER`, so that clients cannot add
//! label values.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec};
use rustc_hash::FxHashMap;
use tonic::Code;

/// Name under which unknown methods are counted.
pub(crate) const OTHER: &str = "_OTHER";

/// Number of gRPC status codes.
const CODES: usize = 17;

/// One known method.
#[derive(Debug)]
pub(crate) struct Method {
    /// `pkg.Service/Method`, or [`OTHER`].
    pub(crate) name: &'static str,
    durations: HistogramVec,
    by_code: [OnceLock<Option<Histogram>>; CODES],
    open: AtomicU64,
}

impl Method {
    fn new(name: &'static str, durations: &HistogramVec) -> Arc<Self> {
        let by_code = std::array::from_fn(|_| OnceLock::new());
        Arc::new(Self { name, durations: durations.clone(), by_code, open: AtomicU64::new(0) })
    }

    pub(crate) fn begun(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, code: Code, after: Duration) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let Some(slot) = self.by_code.get(code as usize) else { return };
        let resolve = || {
            let labels = [self.name, code_name(code)];
            self.durations.get_metric_with_label_values(&labels).ok()
        };
        if let Some(histogram) = slot.get_or_init(resolve) {
            histogram.observe(after.as_secs_f64());
        }
    }

    /// Calls begun and not yet ended.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// Methods by path.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: FxHashMap<&'static str, Arc<Method>>,
    other: Arc<Method>,
}

impl Methods {
    /// A table over full paths (`/pkg.Service/Method`), observed into `durations`.
    pub(crate) fn new(paths: impl IntoIterator<Item = &'static str>, durations: &HistogramVec) -> Self {
        let by_path = paths
            .into_iter()
            .map(|path| (path, Method::new(path.strip_prefix('/').unwrap_or(path), durations)))
            .collect();
        Self { by_path, other: Method::new(OTHER, durations) }
    }

    pub(crate) fn get(&self, path: &str) -> &Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.other)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Method>> {
        self.by_path.values().chain(std::iter::once(&self.other))
    }
}

/// The name of a gRPC status as the conventions write it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn an_unknown_path_never_becomes_a_label() {
        let metrics = Metrics::new("a", "0").unwrap();
        let methods = Methods::new(["/a.B/C"], metrics.server_duration());
        for path in ["/a.B/D", "/attack/1", "", "a.B/C"] {
            let method = methods.get(path);
            method.begun();
            method.ended(Code::Unimplemented, Duration::from_millis(1));
        }
        let page = metrics.render().unwrap();
        assert!(page.contains(r#"_count{rpc_method="_OTHER",rpc_response_status_code="UNIMPLEMENTED"} 4"#));
        assert!(!page.contains("attack"));
        assert!(!page.contains("a.B/C"), "a method that was never called has no series");
    }

    #[test]
    fn calls_are_counted_by_method_and_status_in_seconds() {
        let metrics = Metrics::new("a", "0").unwrap();
        let methods = Methods::new(["/a.B/C"], metrics.client_duration());
        let method = methods.get("/a.B/C");
        method.begun();
        assert_eq!(method.open(), 1);
        method.ended(Code::Ok, Duration::from_millis(1_500));
        assert_eq!(method.open(), 0);
        let page = metrics.render().unwrap();
        let sum =
            r#"rpc_client_call_duration_seconds_sum{rpc_method="a.B/C",rpc_response_status_code="OK"} 1.5"#;
        assert!(page.contains(sum), "{page}");
    }

    #[test]
    fn every_code_has_a_slot_and_its_own_name() {
        let names: std::collections::BTreeSet<_> =
            (0..CODES as i32).map(|number| code_name(Code::from_i32(number))).collect();
        assert_eq!(names.len(), CODES);
    }
}
