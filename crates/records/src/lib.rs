//! What a process remembers: who connected, who called, whether it was allowed, and why not.
//!
//! A [`Recorder`] observes connections and decisions. On their path it only puts a compact entry into a bounded queue
//! and returns, whatever happens: a full queue is counted, nothing waits and nobody is woken. One thread collects a few
//! times a second into rings of bounded length, hands new records to watchers and writes them to a file where one is
//! configured; whoever reads collects first, so a refusal is there the moment its caller knows of it.
//!
//! Nobody hides others by flooding: what is refused is remembered apart from what is not, of the same network for the
//! same reason only so much is recorded, and a full ring forgets the oldest record of the source that has most in it.
//! No record carries a certificate, a key or a token, and texts that a stranger chose are cut.
//!
//! [`Observe`] serves it all as `avouch.observe.v1`; [`alb`] writes connections as an AWS load balancer would.

pub mod alb;
mod calls;
mod config;
mod contract;
mod entry;
mod file;
mod filter;
pub mod line;
mod memory;
mod recorder;
mod render;
mod ring;
mod service;
#[cfg(test)]
mod testing;
pub mod text;
mod watch;

pub use config::{FileConfig, RecordsConfig};
pub use contract::contract;
pub use entry::Caller;
pub use filter::Matcher;
pub use recorder::{Recorder, RecorderBuilder};
pub use render::method;
pub use service::{Observe, Source};
