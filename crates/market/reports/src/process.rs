//! The process: from a booted shell to served sums, with their follower beside them.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::reports::v1::reports_server::ReportsServer;
use tonic::service::Routes;

use crate::{Follower, LedgerTail, Service, Settings, Sums};

/// Refuses what [`run`] could not use of the configuration. Starts nothing.
///
/// # Errors
/// The first thing that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<Settings, BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("reports.database", &settings.database)?;
    config.needs_upstream("ledger")?;
    Ok(settings)
}

/// Follows the ledger and serves the sums until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings = settings(app.config())?;
    let sums = Sums::open(&settings.database, app.identity().clock().clone())?;
    // A tail has no end of its own: it gets no deadline.
    let ledger = LedgerTail::new(app.channel_with("ledger", |channel| channel.default_timeout(None))?);
    let follower = Follower::new(ledger, sums.clone());
    let service = Service::new(sums, follower.standing());
    app.spawn(follower.run(app.stopping()));
    app.announce::<ReportsServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(ReportsServer::new(service))).await?)
}
