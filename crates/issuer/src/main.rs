//! `avouch-issuer`: the private CA of a trust domain. Everything it does is in the library; everything every process does
//! (configuration, telemetry, health, signals, drain) is in `avouch_service`.

use avouch_api::observe::v1::{Filter, Record, Status};
use avouch_issuer::config::IssuerConfig;
use avouch_issuer::{Issuer, Process};
use avouch_records::{Matcher, Recorder, Source};
use avouch_service::{App, Boot, BootError, BoxError, Config, NoFlags, run_boot};
use avouch_time::clock;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

/// The process that the issuer runs in, as its administrator sees it.
struct HostProcess {
    recorder: Recorder,
    status_source: Arc<dyn Source>,
}

impl HostProcess {
    fn of(app: &App) -> Self {
        Self { recorder: app.records().clone(), status_source: app.status() }
    }
}

impl fmt::Debug for HostProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostProcess").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

impl Process for HostProcess {
    fn status(&self) -> Status {
        self.status_source.status()
    }

    fn records(&self, filter: &Filter, limit: Option<usize>) -> Vec<Record> {
        self.recorder.list(&Matcher::from(filter), limit.unwrap_or(usize::MAX))
    }
}

async fn issuer(boot: Boot, _: NoFlags) -> Result<(), BoxError> {
    let config: IssuerConfig = boot.settings()?;
    let issuer = Issuer::start(&config, clock::system()).await?;
    let app = boot.with_identity(issuer.identity().clone())?;
    let issuer = issuer
        .with_addresses(app.address().map(str::to_owned).into_iter().collect())
        .with_process(Arc::new(HostProcess::of(&app)))
        .with_recorder(app.records().clone());
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

fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
    let issuer: IssuerConfig = config.settings()?;
    Issuer::check(&issuer).map_err(|error| BootError::settings("issuer", error))
}

fn main() -> ExitCode {
    run_boot("issuer", &[&avouch_api::CONTRACT], check, issuer)
}
