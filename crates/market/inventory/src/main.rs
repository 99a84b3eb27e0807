//! The inventory service's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch_service::run("inventory", &[&market_api::CONTRACT], market_inventory::run)
}
