//! The process: from a booted shell to a served till, with its worker beside it.

use avouch_service::{App, BoxError};
use market_api::payments::v1::payments_server::PaymentsServer;
use tonic::service::Routes;

use crate::{LedgerBook, Limits, Service, Settings, Till, TillOptions, worker};

/// Serves the till until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings: Settings = app.settings()?;
    let limits = Limits::try_from(&settings)?;
    let options = TillOptions { patience: settings.patience.0 };
    let book = LedgerBook::new(app.channel("ledger")?);
    let till = Till::open(&settings.database, book, limits, options).await?;
    app.spawn(worker::run(till.clone(), app.stopping()));
    app.announce::<PaymentsServer<Service<LedgerBook>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(PaymentsServer::new(Service::new(till)))).await?)
}
