//! The process: from a booted shell to a served desk, with its worker beside it.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::orders::v1::orders_server::OrdersServer;
use tonic::service::Routes;

use crate::{Desk, DeskOptions, Partners, Service, Settings, worker};

/// Refuses what [`run`] could not use of the configuration. Starts nothing.
///
/// # Errors
/// The first thing that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<(Settings, DeskOptions), BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("orders.database", &settings.database)?;
    config.needs_upstream("inventory")?;
    config.needs_upstream("payments")?;
    let options = DeskOptions { patience: settings.patience()? };
    Ok((settings, options))
}

/// Serves the desk until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, options) = settings(app.config())?;
    let partners = Partners::new(app.channel("inventory")?, app.channel("payments")?);
    let desk = Desk::open(&settings.database, partners, app.identity().clock().clone(), options)?;
    app.spawn(worker::run(desk.clone(), app.stopping()));
    app.announce::<OrdersServer<Service<Partners>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(OrdersServer::new(Service::new(desk)))).await?)
}
