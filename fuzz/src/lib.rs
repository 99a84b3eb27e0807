//! Hostile input, and what must hold whatever it is. Each target takes bytes, hands them to the code under test as a
//! peer, a file or an operator would, and panics when a property does not hold; that nothing else panics is the least
//! of the properties. What is accepted is judged by a second reading ([`oracle`], [`der`]) that shares no code with the
//! first.
//!
//! The same functions run in the ordinary tests, on every committed seed and on mutations of them, and under libFuzzer
//! (`./just fuzz`). A signature over mutated bytes never verifies, so certificates and requests are also signed again
//! with a live key: only so does hostile content reach the checks behind the signature.
//!
//! Time stands still, and the only private keys are made by the process that needs them.

pub mod der;
pub mod mutate;
pub mod oracle;
pub mod protobuf;
mod targets;
pub mod world;

pub use targets::{Outcome, Shape, TARGETS, Target};
