//! The inventory service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_inventory::check, &market_api::CONTRACT);
    avouch_service::run_checked("inventory", &[contract], check, |app, _| market_inventory::run(app))
}
