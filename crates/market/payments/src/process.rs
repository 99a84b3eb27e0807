//! The payments process: validates its configuration, opens the store, serves the gRPC service and runs the worker.

use avouch_service::{App, BootError, BoxError, Config, NoFlags};
use market_api::payments::v1::payments_server::PaymentsServer;
use tonic::service::Routes;

use crate::settings::LimitsError;
use crate::{GrpcLedgerClient, Limits, Payments, PaymentsOptions, Service, Settings, worker};

/// Validates the configuration that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    settings(config).map(|_| ())
}

fn settings(config: &Config) -> Result<(Settings, Limits, PaymentsOptions), BootError> {
    config.refuse_renamed(Settings::RENAMED)?;
    let settings: Settings = config.settings()?;
    config.file_to_make("payments.database", &settings.database)?;
    config.needs_upstream("ledger")?;
    let limits = Limits::try_from(&settings).map_err(|error| match error {
        LimitsError::OutOfBounds(fault) => fault.into(),
        error => BootError::settings("payments", error),
    })?;
    let options = PaymentsOptions { timeout: settings.timeout()? };
    Ok((settings, limits, options))
}

/// Serves the payments until the process is asked to stop.
///
/// # Errors
/// An error that prevents the start or ends the listener.
pub async fn run(app: App) -> Result<(), BoxError> {
    let (settings, limits, options) = settings(app.config())?;
    let ledger = GrpcLedgerClient::new(app.channel("ledger")?);
    let payments = Payments::open(&settings.database, ledger, limits, options).await?;
    app.spawn(worker::run(payments.clone(), app.stopping()));
    app.announce::<PaymentsServer<Service<GrpcLedgerClient>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(PaymentsServer::new(Service::new(payments)))).await?)
}
