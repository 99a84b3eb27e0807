//! `avouch-issuer`: the private CA of a trust domain. Everything it does is in the library; everything every process does
//! (configuration, telemetry, health, signals, drain) is in `avouch_service`.

use avouch_api::observe::v1::{Filter, Record, Status};
use avouch_issuer::config::IssuerConfig;
use avouch_issuer::{Issuer, Process};
use avouch_records::{Matcher, Recorder, Source};
use avouch_service::{App, Boot, BootError, BoxError, Config, NoFlags, run_boot};
use avouch_spiffe::clock;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

/// The process around the issuer, as the issuer's administrator sees it.
struct Around {
    recorder: Recorder,
    facts: Arc<dyn Source>,
}

impl Around {
    fn of(app: &App) -> Self {
        Self { recorder: app.records().clone(), facts: app.status() }
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

impl Process for Around {
    fn status(&self) -> Status {
        self.facts.status()
    }

    fn records(&self, filter: &Filter, limit: Option<usize>) -> Vec<Record> {
        self.recorder.list(&Matcher::from(filter), limit.unwrap_or(usize::MAX))
    }
}

async fn issuer(boot: Boot, _: NoFlags) -> Result<(), BoxError> {
    let config: IssuerConfig = boot.settings()?;
    let issuer = Issuer::start(&config, clock::system()).await?;
    let app = boot.with_identity(issuer.identity().clone())?;
    issuer.advertise(app.address().map(str::to_owned).into_iter().collect());
    issuer.describe(Arc::new(Around::of(&app)));
    issuer.record_with(app.records().clone());
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
