//! The ledger process: validates its configuration, opens the store and serves the gRPC service.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::ledger::v1::ledger_server::LedgerServer;
use tonic::service::Routes;

use crate::{Book, Service, Settings};

/// Validates the configuration that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
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
/// An error that prevents the start or ends the listener.
pub async fn run(app: App) -> Result<(), BoxError> {
    let settings = settings(app.config())?;
    let book = Book::open(&settings.database, app.identity().clock().clone()).await?;
    app.announce::<LedgerServer<Service>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    let service = Service::new(book, app.stopping());
    Ok(app.serve(Routes::new(LedgerServer::new(service))).await?)
}
