//! The same market, kept running with a trickle of orders until it is told to stop.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use crate::console::{Console, Mark};
use crate::dev::DevFiles;
use crate::paths::{Paths, SERVICES, TRUST_DOMAIN};
use crate::setup::{DEV_LIFE, Market, Options, SetupError};
use crate::signals::interrupted;

/// Where the ingress listens if nobody else does: the address in the lines people copy.
pub const INGRESS_PORT: u16 = 7443;

/// Orders a second.
const TRICKLE: &str = "2";

/// Runs until Ctrl-C or SIGTERM, then ends everything in order.
///
/// # Errors
/// What made it impossible to go on.
pub async fn up(paths: Paths, orders: Option<PathBuf>, console: &Console) -> Result<(), SetupError> {
    let orders = orders.unwrap_or_else(|| paths.shipped("orders.jsonl"));
    // The well-known port is for the market in its own place: another may start at the same moment.
    let free = paths.is_default() && TcpListener::bind(("127.0.0.1", INGRESS_PORT)).is_ok();
    console.progress("starting the issuer");
    let options = Options {
        // Whoever wants to see traces names a collector; without one nothing is recorded.
        otlp: std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|url| !url.is_empty()),
        ingress_port: if free { INGRESS_PORT } else { 0 },
        storefront: BTreeMap::from([
            ("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), OsString::from(orders)),
            ("AVOUCH_STOREFRONT__TRICKLE_PER_SECOND".to_owned(), TRICKLE.into()),
        ]),
        feed: false,
        ..Options::default()
    };
    let market = Market::start(paths, options).await?;
    let outcome = tokio::select! {
        outcome = keep_up(&market, console) => outcome,
        _ = interrupted() => Ok(()),
    };
    console.progress("ending all processes");
    let bad = market.stop().await;
    outcome?;
    if bad.is_empty() {
        console.line(Mark::Held, "everything has ended");
        Ok(())
    } else {
        Err(SetupError::Other(format!("did not end by themselves: {}", bad.join(", "))))
    }
}

async fn keep_up(market: &Market, console: &Console) -> Result<(), SetupError> {
    let own = market.paths.own_services();
    for name in SERVICES.into_iter().chain(own.iter().map(String::as_str)) {
        console.progress(&format!("starting {name}"));
        market.service(name, BTreeMap::new()).await?;
    }
    let system = |source| SetupError::System { action: "keep certs/dev fresh".into(), source };
    let trust_domain = TRUST_DOMAIN.parse().map_err(|error| SetupError::Other(format!("{error}")))?;
    let dev = market.identity("dev", DEV_LIFE).await?;
    let files = DevFiles::new(market.paths.certs.clone(), market.paths.state("dev")).map_err(system)?;
    files.write(&dev, &trust_domain).map_err(system)?;
    welcome(market, console).await?;

    let watchdog = async {
        loop {
            market.all_running()?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let keep = files.keep(dev, &trust_domain);
    tokio::select! {
        ended = watchdog => ended,
        kept = keep => kept.map_err(system),
    }
}

async fn welcome(market: &Market, console: &Console) -> Result<(), SetupError> {
    console
        .line(Mark::Bold, &format!("{TRUST_DOMAIN} is up, with {TRICKLE} orders a second. Ctrl-C ends it."));
    let own = market.paths.own_services();
    for name in ["issuer"].into_iter().chain(SERVICES).chain(own.iter().map(String::as_str)) {
        let address = market.address(name)?;
        let line =
            format!("  {name:<11} mTLS {:<16} http://{}/metrics", address.grpc.to_string(), address.health);
        console.line(Mark::Plain, &line);
    }
    console.line(Mark::Plain, &format!("  logs        {}/*/log.jsonl", market.paths.dir.display()));
    console.line(Mark::Plain, "Try:");
    let port = market.ingress().await?.port();
    for command in crate::next_commands(port).iter().skip(1) {
        console.line(Mark::Plain, &format!("  {command}"));
    }
    for name in own {
        let caller = market.paths.bin.join(format!("{name}-call"));
        let address = market.address(&name)?.grpc;
        let to = format!("--set upstreams.{name}.url=https://{address}");
        let line = format!("  {} --config services/{name}/call.toml {to}", caller.display());
        console.line(Mark::Plain, &line);
    }
    let avouch = market.paths.bin.join("avouch");
    let line = format!("  {} --socket {} cert list", avouch.display(), market.paths.socket().display());
    console.line(Mark::Plain, &line);
    Ok(())
}
