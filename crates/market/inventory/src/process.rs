//! The inventory process: validates its configuration, opens the store and serves the gRPC service.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::inventory::v1::inventory_server::InventoryServer;
use tonic::service::Routes;

use crate::{Inventory, Seed, Service, Settings};

/// Validates the configuration that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<(Settings, Seed), BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("inventory.database", &settings.database)?;
    let seed = Seed::load(&settings.stock).map_err(|error| BootError::settings("inventory", error))?;
    Ok((settings, seed))
}

/// Serves the inventory until the process is asked to stop.
///
/// # Errors
/// An error that prevents the start or ends the listener.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, seed) = settings(app.config())?;
    let inventory = Inventory::open(&settings.database, seed).await?;
    app.announce::<InventoryServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(InventoryServer::new(Service::new(inventory)))).await?)
}
