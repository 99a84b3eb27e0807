//! The storefront process: places the stream of orders, then the trickle, and meanwhile serves the HTTPS ingress and
//! the gRPC service.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use avouch_authz::layer::DecisionIds;
use avouch_identity::IdentityFilter;
use avouch_service::{App, BootError, BoxError, Config};
use market_api::storefront::v1::storefront_server::StorefrontServer;
use tokio::io::{AsyncBufRead, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::run::StreamEnd;
use crate::{
    Flags, GrpcOrdersClient, Ingress, OrderReader, Service, Settings, Submitter, Trickle, ingress,
    run_stream, run_trickle,
};

/// Validates the configuration and the flags that [`run`] uses, without starting anything.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check(config: &Config, flags: &Flags) -> Result<(), BootError> {
    Settings::of(config, flags.clone()).map(|_| ())
}

/// Places orders and serves shoppers until the process is asked to stop; with `once`, until the orders have ended.
///
/// # Errors
/// An error that prevents the start or ends a listener; with `once`, orders that could not be read.
pub async fn run(app: App, flags: Flags) -> Result<(), BoxError> {
    let settings = Settings::of(app.config(), flags)?;
    let client = GrpcOrdersClient::new(app.channel("orders")?);
    let submitter = Submitter::new(client.clone(), settings.submit(), app.tracing().clone());
    if settings.once {
        let outcome = stream(&settings, &submitter, &app.stopping()).await;
        app.finish().await;
        return Ok(outcome?.map_or(Ok(()), |end| end.error.map_or(Ok(()), Err))?);
    }
    open_ingress(&app, &settings, &client).await?;
    let run = app.identity().clock().now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let orders = orders(settings, submitter, u64::try_from(run).unwrap_or(0), app.stopping());
    app.spawn(orders);
    app.announce::<StorefrontServer<Service<GrpcOrdersClient>>>();
    app.reflect(market_api::FILE_DESCRIPTOR_SET);
    Ok(app.serve(Routes::new(StorefrontServer::new(Service::new(client)))).await?)
}

/// Places the stream, then runs the trickle. Their errors do not stop the ingress.
async fn orders(
    settings: Settings,
    submitter: Submitter<GrpcOrdersClient>,
    run: u64,
    stop: CancellationToken,
) {
    let end = match stream(&settings, &submitter, &stop).await {
        Ok(Some(end)) => end,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, "the orders cannot be read, or their totals not be written");
            return;
        }
    };
    if let Some(error) = end.error {
        tracing::error!(%error, "reading the orders stopped before their end");
    }
    let trickle = settings.trickle_interval().zip(Trickle::new(end.templates, run));
    if let Some((interval, trickle)) = trickle {
        run_trickle(trickle, interval, submitter, &stop).await;
    }
}

/// Places the configured orders, and logs and writes their totals; `None` when there are none.
async fn stream(
    settings: &Settings,
    submitter: &Submitter<GrpcOrdersClient>,
    stop: &CancellationToken,
) -> io::Result<Option<StreamEnd>> {
    let Some(path) = &settings.orders_file else { return Ok(None) };
    let end = run_stream(OrderReader::new(open(path).await?), submitter, settings.stream(), stop).await;
    let totals = &end.totals;
    tracing::info!(
        lines = totals.lines,
        completed = totals.completed,
        rejected = totals.rejected.values().sum::<u64>(),
        invalid = totals.invalid,
        malformed = totals.malformed,
        failed = totals.failed,
        retries = totals.retries,
        elapsed_ms = totals.elapsed_ms,
        "the orders have ended"
    );
    if let Some(path) = &settings.result_file {
        totals.write(path)?;
    }
    Ok(Some(end))
}

async fn open(path: &Path) -> io::Result<Box<dyn AsyncBufRead + Send + Unpin>> {
    if path == Path::new("-") {
        let stdin = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
        return Ok(Box::new(BufReader::new(tokio::fs::File::from_std(stdin))));
    }
    let file = tokio::fs::File::open(path).await.map_err(|error| {
        io::Error::new(error.kind(), format!("the orders {} cannot be opened: {error}", path.display()))
    })?;
    Ok(Box::new(BufReader::new(file)))
}

/// Opens the HTTPS ingress, if there is to be one: the storefront's own SVID, shoppers of its own trust domain only.
async fn open_ingress(app: &App, settings: &Settings, client: &GrpcOrdersClient) -> Result<(), BoxError> {
    let Some(address) = settings.ingress_listen else { return Ok(()) };
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    if let Some(path) = &settings.ingress_address_file {
        avouch_files::write_public(path, format!("{address}\n").as_bytes())?;
    }
    let router = ingress::router(Ingress {
        client: client.clone(),
        policy: app.policy().clone(),
        decisions: DecisionIds::random(),
        tracing: app.tracing().clone(),
    });
    let trust_domain = app.identity().spiffe_id().trust_domain().clone();
    let server = app.server_for(IdentityFilter::trust_domain(trust_domain)).allow_http1();
    let stopping = app.stopping();
    tracing::info!(%address, "the ingress is open");
    app.spawn(async move {
        let stop = stopping.clone();
        if let Err(error) = server.serve(listener, router, async move { stop.cancelled().await }).await {
            tracing::error!(%error, "the ingress failed");
            stopping.cancel();
        }
    });
    Ok(())
}
