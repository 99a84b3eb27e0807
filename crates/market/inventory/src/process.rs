//! The process: from a booted shell to a served inventory.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::inventory::v1::inventory_server::InventoryServer;
use tonic::service::Routes;

use crate::{Inventory, Seed, Service, Settings};

/// Refuses what [`run`] could not use of the configuration. Starts nothing.
///
/// # Errors
/// The first thing that cannot be used.
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
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, seed) = settings(app.config())?;
    let inventory = Inventory::open(&settings.database, seed).await?;
    app.announce::<InventoryServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(InventoryServer::new(Service::new(inventory)))).await?)
}
