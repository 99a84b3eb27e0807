//! The process: from a booted shell to a served inventory.

use avouch_service::{App, BoxError};
use market_api::inventory::v1::inventory_server::InventoryServer;
use tonic::service::Routes;

use crate::{Inventory, Seed, Service, Settings};

/// Serves the inventory until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings: Settings = app.settings()?;
    let inventory = Inventory::open(&settings.database, Seed::load(&settings.stock)?).await?;
    app.announce::<InventoryServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(InventoryServer::new(Service::new(inventory)))).await?)
}
