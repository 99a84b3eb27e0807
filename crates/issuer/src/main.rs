//! `avouch-issuer`: the private CA of a trust domain. Everything it does is in the library; everything every process does
//! (configuration, telemetry, health, signals, drain) is in `avouch_service`.

use avouch_issuer::Issuer;
use avouch_issuer::config::IssuerConfig;
use avouch_service::{Boot, BoxError, run_boot};
use avouch_spiffe::clock;
use std::process::ExitCode;

#[derive(clap::Args)]
struct NoFlags {}

async fn issuer(boot: Boot, _: NoFlags) -> Result<(), BoxError> {
    let config: IssuerConfig = boot.settings()?;
    let issuer = Issuer::start(&config, clock::system()).await?;
    let app = boot.with_identity(issuer.identity().clone())?;
    issuer.advertise(app.address().map(str::to_owned).into_iter().collect());
    issuer.register_metrics(app.metrics().registry())?;
    let stopping = app.stopping();
    let admin = issuer.bind_admin().await?;
    tracing::info!(socket = %config.admin_socket.display(), "the administration listens");
    let administration = {
        let (issuer, stopping) = (issuer.clone(), stopping.clone());
        async move {
            if let Err(error) = issuer.serve_admin(admin, stopping.cancelled_owned()).await {
                tracing::error!(%error, "the administration has failed");
            }
        }
    };
    app.spawn(administration);
    app.reflect(avouch_api::FILE_DESCRIPTOR_SET);
    app.serve_with(issuer.workload_routes(stopping), |server| issuer.configure(server)).await?;
    Ok(())
}

fn main() -> ExitCode {
    run_boot("issuer", &[&avouch_api::CONTRACT], issuer)
}
