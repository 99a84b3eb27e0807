//! The process: from a booted shell to a served book.

use avouch_service::{App, BoxError};
use market_api::ledger::v1::ledger_server::LedgerServer;
use tonic::service::Routes;

use crate::{Book, Service, Settings};

/// Serves the book until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings: Settings = app.settings()?;
    let book = Book::open(&settings.database, app.identity().clock().clone()).await?;
    app.announce::<LedgerServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    let service = Service::new(book, app.stopping());
    Ok(app.serve(Routes::new(LedgerServer::new(service))).await?)
}
