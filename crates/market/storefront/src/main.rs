//! The storefront's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (check, contract) = (market_storefront::check, &market_api::CONTRACT);
    avouch_service::run_checked("storefront", &[contract], check, market_storefront::run)
}
