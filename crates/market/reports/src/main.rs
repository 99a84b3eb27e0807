//! The reports service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_reports::check, &market_api::CONTRACT);
    avouch_service::run_checked("reports", &[contract], check, |app, _| market_reports::run(app))
}
