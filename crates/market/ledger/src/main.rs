//! The ledger service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_ledger::check, &market_api::CONTRACT);
    avouch_service::run_checked("ledger", &[contract], check, |app, _| market_ledger::run(app))
}
