//! A service that does not end when it is asked to, in each of the ways a `main` can manage that: what the second SIGTERM
//! is for.
//!
//! `cargo run -p avouch-service --example stubborn -- --config stubborn.toml --blocks`

use std::process::ExitCode;
use std::time::Duration;

use avouch_service::{App, BoxError};

const LONG: Duration = Duration::from_secs(3600);

/// How it is stubborn; without any of these it serves nothing and waits until it is asked to stop.
#[derive(Debug, clap::Args)]
struct Own {
    /// Works on, and never looks whether it should stop.
    #[arg(long)]
    never_looks: bool,
    /// Blocks every thread that the runtime has.
    #[arg(long)]
    blocks: bool,
    /// Logs without end.
    #[arg(long)]
    talks: bool,
}

async fn stubborn(app: App, own: Own) -> Result<(), BoxError> {
    tracing::info!("at work");
    if own.blocks {
        // More than there are threads; each keeps the one it gets.
        for _ in 0..512 {
            tokio::spawn(async { std::thread::sleep(LONG) });
        }
        std::thread::sleep(LONG);
    }
    if own.talks {
        loop {
            tracing::info!("and another thing");
        }
    }
    if own.never_looks {
        loop {
            tokio::time::sleep(LONG).await;
        }
    }
    app.stopping().cancelled().await;
    app.finish().await;
    Ok(())
}

fn main() -> ExitCode {
    avouch_service::run_with("stubborn", &[], stubborn)
}
