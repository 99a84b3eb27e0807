//! The process: from a booted shell to a served desk, with its worker beside it.

use avouch_service::{App, BoxError};
use market_api::orders::v1::orders_server::OrdersServer;
use tonic::service::Routes;

use crate::{Desk, DeskOptions, Partners, Service, Settings, worker};

/// Serves the desk until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings: Settings = app.settings()?;
    let options = DeskOptions { patience: settings.patience.0 };
    let partners = Partners::new(app.channel("inventory")?, app.channel("payments")?);
    let desk = Desk::open(&settings.database, partners, app.identity().clock().clone(), options)?;
    app.spawn(worker::run(desk.clone(), app.stopping()));
    app.announce::<OrdersServer<Service<Partners>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(OrdersServer::new(Service::new(desk)))).await?)
}
