//! The process: from a booted shell to a served book.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::ledger::v1::ledger_server::LedgerServer;
use tonic::service::Routes;

use crate::{Book, Service, Settings};

/// Refuses what [`run`] could not use of the configuration. Starts nothing.
///
/// # Errors
/// The first thing that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<Settings, BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("ledger.database", &settings.database)?;
    Ok(settings)
}

/// Serves the book until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings = settings(app.config())?;
    let book = Book::open(&settings.database, app.identity().clock().clone()).await?;
    app.announce::<LedgerServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    let service = Service::new(book, app.stopping());
    Ok(app.serve(Routes::new(LedgerServer::new(service))).await?)
}
