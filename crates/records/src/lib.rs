//! Records of a process: who connected, who called, whether it was allowed, and why not.
//!
//! A [`Recorder`] observes connections and decisions. On their path it only puts a compact entry into a bounded queue
//! and returns, whatever happens: a full queue is counted, nothing waits and nobody is woken. One thread collects a few
//! times a second into lists of bounded length, hands new records to watchers and writes them to a file where one is
//! configured; whoever reads collects first, so a refusal is there the moment its caller knows of it. Allowed calls are
//! collected only while a watcher or the file wants each of them: else the queue itself keeps the latest.
//!
//! Nobody can hide others by flooding: refusals are kept apart from the rest, refusals of one network for one reason are
//! rate limited, and a full list evicts the oldest record of the source with the most records. No record carries a
//! certificate, a key or a token, and texts that a stranger chose are cut.
//!
//! [`Observe`] serves it all as `avouch.observe.v1`; [`alb`] writes connections as an AWS load balancer would.

pub mod alb;
mod call_counters;
mod config;
mod contract;
mod entry;
mod fair_buffer;
mod file;
mod filter;
pub mod json_line;
mod memory;
mod recorder;
mod render;
mod service;
#[cfg(test)]
mod testing;
mod watch;

pub use call_counters::BadEnd;
pub use config::{FileConfig, RecordsConfig};
pub use contract::contract;
pub use entry::Caller;
pub use filter::Matcher;
pub use recorder::{Recorder, RecorderBuilder};
pub use render::method;
pub use service::{Observe, Source};
