//! The demo: runs the market for real, attacks it, kills parts of it, and reports what held.
//!
//! The crate runs other crates' binaries as processes and talks to them as anybody would, over their public RPCs,
//! ports and logs. It refuses to call a run good when anything it says about the run was not measured.

pub mod admin;
pub mod attacks;
pub mod console;
pub mod dev;
pub mod external;
pub mod facts;
pub mod http;
pub mod launch;
pub mod otlp;
pub mod processes;
pub mod records;
pub mod report;
#[doc(hidden)]
pub mod sample;
pub mod secrets;
pub mod traces;
pub mod wait;
pub mod waterfall;
