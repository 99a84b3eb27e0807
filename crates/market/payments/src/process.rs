//! The process: from a booted shell to a served till, with its worker beside it.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::payments::v1::payments_server::PaymentsServer;
use tonic::service::Routes;

use crate::settings::LimitsError;
use crate::{LedgerBook, Limits, Service, Settings, Till, TillOptions, worker};

/// Refuses what [`run`] could not use of the configuration. Starts nothing.
///
/// # Errors
/// The first thing that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<(Settings, Limits, TillOptions), BootError> {
    let settings: Settings = config.settings()?;
    config.file_to_make("payments.database", &settings.database)?;
    config.needs_upstream("ledger")?;
    let limits = Limits::try_from(&settings).map_err(|error| match error {
        LimitsError::OutOfBounds(fault) => fault.into(),
        error => BootError::settings("payments", error),
    })?;
    let options = TillOptions { patience: settings.patience()? };
    Ok((settings, limits, options))
}

/// Serves the till until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting, or the listener from going on.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, limits, options) = settings(app.config())?;
    let book = LedgerBook::new(app.channel("ledger")?);
    let till = Till::open(&settings.database, book, limits, options).await?;
    app.spawn(worker::run(till.clone(), app.stopping()));
    app.announce::<PaymentsServer<Service<LedgerBook>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(PaymentsServer::new(Service::new(till)))).await?)
}
