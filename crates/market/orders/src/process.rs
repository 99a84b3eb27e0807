//! The orders process: validates its configuration, opens the store, serves the gRPC service and runs the worker.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::orders::v1::orders_server::OrdersServer;
use tonic::service::Routes;

use crate::{Clients, Orders, OrdersOptions, Service, Settings, worker};

/// Validates the configuration that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<(Settings, OrdersOptions), BootError> {
    config.refuse_renamed(Settings::RENAMED)?;
    let settings: Settings = config.settings()?;
    config.file_to_make("orders.database", &settings.database)?;
    config.needs_upstream("inventory")?;
    config.needs_upstream("payments")?;
    let options = OrdersOptions { timeout: settings.timeout()? };
    Ok((settings, options))
}

/// Serves orders until the process is asked to stop.
///
/// # Errors
/// An error that prevents the start or ends the listener.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, options) = settings(app.config())?;
    let clients = Clients::new(app.channel("inventory")?, app.channel("payments")?);
    let orders = Orders::open(&settings.database, clients, app.identity().clock().clone(), options)?;
    app.spawn(worker::run(orders.clone(), app.stopping()));
    app.announce::<OrdersServer<Service<Clients>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(OrdersServer::new(Service::new(orders)))).await?)
}
