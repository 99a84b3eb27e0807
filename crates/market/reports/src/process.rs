//! The reports process: validates its configuration, opens the store, serves the totals and follows the ledger.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::reports::v1::reports_server::ReportsServer;
use tonic::service::Routes;

use crate::{Follower, LedgerTail, Service, Settings, Totals};

/// Validates the configuration that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<Settings, BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("reports.database", &settings.database)?;
    config.needs_upstream("ledger")?;
    Ok(settings)
}

/// Follows the ledger and serves the totals until the process is asked to stop.
///
/// # Errors
/// An error that prevents the start or ends the listener.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings = settings(app.config())?;
    let totals = Totals::open(&settings.database, app.identity().clock().clone())?;
    let ledger = LedgerTail::new(app.channel("ledger")?);
    let follower = Follower::new(ledger, totals.clone());
    let service = Service::new(totals, follower.status());
    app.spawn(follower.run(app.stopping()));
    app.announce::<ReportsServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(ReportsServer::new(service))).await?)
}
