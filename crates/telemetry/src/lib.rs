//! Telemetry of every avouch process: one place that sets up logs, traces and metrics, and the two light tower
//! layers that give each RPC its span and its duration.
//!
//! * [`init`] installs the log subscriber and, only when an OTLP endpoint is named, the trace exporter. No setting of
//!   telemetry keeps a process from starting: what cannot be used is a [`Warning`].
//! * [`ServerLayer`] and [`ClientLayer`] carry the W3C trace context over each hop. They decide sampling *before*
//!   anything is built: an unsampled call costs a context that is handed on, two clock readings and one histogram
//!   observation, and takes no lock.
//! * [`Metrics`] holds every series the plain `/metrics` page shows; its label sets are bounded by construction.
//!
//! This crate knows no identities, policies or certificates: what a span says about a peer comes through functions of
//! the caller ([`ServerLayer::peer`], [`ServerLayer::decision`]). It never propagates baggage (it is untrusted across
//! trust domains) and never takes part in a decision about a caller.

mod batch;
mod config;
mod endpoint;
mod environment;
mod error;
mod export;
mod files;
mod filter;
mod headers;
mod list;
mod log;
mod methods;
mod metrics;
mod otlp;
mod propagation;
mod resource;
mod rpc;
mod sampling;
mod settings;
mod setup;
mod subscriber;
mod tls;
mod tracer;
mod warning;

pub use config::{LogFormat, TelemetryConfig};
pub use error::TelemetryError;
pub use metrics::{Metrics, ShareReading, TrustReading, Verdict};
pub use opentelemetry;
pub use prometheus;
pub use propagation::{context_from_env, inject_current, parse_traceparent};
pub use rpc::{
    CallEnd, CallToken, CallWatcher, ClientLayer, Decision, OpenCall, ServerLayer, TracedBody, TracedClient,
    TracedFuture, TracedServer, current_trace_id, record_decision,
};
pub use setup::{Telemetry, check, init};
pub use subscriber::span_layer;
pub use tracer::{Tracing, in_current_context};
pub use warning::Warning;
