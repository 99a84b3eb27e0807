//! The ledger service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch_service::run("ledger", &[&market_api::CONTRACT], market_ledger::run)
}
