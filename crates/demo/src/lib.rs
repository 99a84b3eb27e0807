//! The demo: runs the market for real, attacks it, kills parts of it, and reports what held.
//!
//! The crate runs other crates' binaries as processes and talks to them as anybody would, over their public RPCs,
//! ports and logs. It refuses to call a run good when anything it says about the run was not measured.

pub mod admin;
pub mod attacks;
pub mod audit;
pub mod checks;
pub mod collect;
pub mod console;
pub mod dev;
pub mod entry;
pub mod external;
pub mod facts;
pub mod http;
pub mod launch;
pub mod orders;
pub mod otlp;
pub mod paths;
pub mod processes;
pub mod records;
pub mod report;
pub mod restarts;
pub mod run;
#[doc(hidden)]
pub mod sample;
pub mod setup;
pub mod signals;
pub mod skew;
pub mod stopwatch;
pub mod thief;
pub mod traces;
pub mod up;
pub mod wait;
pub mod waterfall;

/// What to try after a run: the demo that keeps running, a check by openssl, an order by curl.
#[must_use]
pub fn next_commands(port: u16) -> Vec<String> {
    vec![
        "./just up".to_owned(),
        external::verify_line("certs/dev"),
        external::curl_line("certs/dev", port, "deploy/demo/order.json"),
    ]
}
