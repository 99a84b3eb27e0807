//! The payments service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_payments::check, &market_api::CONTRACT);
    avouch_service::run_checked("payments", &[contract], check, |app, _| market_payments::run(app))
}
