//! The orders service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_orders::check, &market_api::CONTRACT);
    avouch_service::run_checked("orders", &[contract], check, |app, _| market_orders::run(app))
}
