//! The storefront's process; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch_service::run_with("storefront", &[&market_api::CONTRACT], market_storefront::run)
}
