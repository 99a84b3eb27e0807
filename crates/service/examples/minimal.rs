//! The smallest service there is: the shell alone, with health and reflection over mutual TLS.
//!
//! `cargo run -p avouch-service --example minimal -- --config minimal.toml`

use std::process::ExitCode;

use avouch_service::{App, BoxError};
use tonic::service::Routes;

async fn minimal(app: App) -> Result<(), BoxError> {
    Ok(app.serve(Routes::default()).await?)
}

fn main() -> ExitCode {
    avouch_service::run("minimal", &[], minimal)
}
