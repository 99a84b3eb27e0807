//! One run from an empty directory to the facts: set up, traffic, attacks, kills and renewals at the same time, the
//! audit, the end, and what is left behind.
//!
//! Everything happens on one thread, the main one, since processes must be started from there (see
//! [`crate::launch`]). A failed check does not end a run; what makes going on impossible does.

mod conclusion;
mod explained;
mod hostile;
mod scenario;
mod theft;
mod trace;
mod verdicts;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use avouch_identity::Identity;
use avouch_spiffe::TrustDomain;
use market_api::orders::v1::OrderState;
use market_api::storefront::v1::PlaceOrderRequest;
use market_api::storefront::v1::storefront_client::StorefrontClient;

use self::trace::FirstTrace;
use self::verdicts::{Counted, Stream};
use crate::audit::{Auditor, Books, channel};
use crate::checks::Checks;
use crate::console::Console;
use crate::dev::DevFiles;
use crate::facts::{Attack, Explained, Facts, Kill, Refusal, Theft};
use crate::orders::{Feed, Order};
use crate::otlp::Collector;
use crate::paths::{Paths, TRUST_DOMAIN};
use crate::setup::{DEV_LIFE, Market, Options, SVID_LIFE, SetupError};
use crate::signals::interrupted;
use crate::stopwatch::Stopwatch;
use crate::wait;

/// How long the stream of orders is made to last: about as long as everything else.
const STREAM: Duration = Duration::from_secs(38);

/// The longest that everything which happens at the same time may take.
const SCENARIO: Duration = Duration::from_secs(150);

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where the orders come from; `-` is standard input. None: those that ship.
    pub orders: Option<PathBuf>,
}

/// What a run leaves behind.
struct Evidence {
    kills: Vec<Kill>,
    hostile: Hostile,
    books: Option<Books>,
    stream: Stream,
    certificates: Vec<avouch_api::admin::v1::Certificate>,
    /// Calls that each service says it made in its last life, and the storefront in its first too.
    counted: Vec<Counted>,
}

/// What had to be refused, and how it was.
struct Hostile {
    refusals: Vec<Refusal>,
    explained: Option<Explained>,
    attacks: Vec<Attack>,
    theft: Option<Theft>,
}

/// The demo's own identities.
struct Own {
    dev: Identity,
    auditor: Identity,
    intern: Identity,
    files: DevFiles,
}

/// Runs the demo.
///
/// # Errors
/// What made it impossible to go on. Everything that was started has been ended by then.
pub async fn run(paths: Paths, options: &RunOptions, console: &Console) -> Result<Facts, SetupError> {
    let watch = Stopwatch::start();
    let forward = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|url| !url.is_empty());
    let (collector, otlp) = Collector::start(forward.as_deref()).await.map_err(SetupError::Other)?;
    let checks = Checks::new(console);
    console.progress("starting the issuer");
    let set_up = Options { otlp: Some(format!("http://{otlp}")), feed: true, ..Options::default() };
    let market = Market::start(paths, set_up).await?;
    let stolen = OnceCell::new();
    let run =
        Run { market: &market, collector: &collector, console, checks: &checks, watch, options, stolen };
    let trace = FirstTrace::new()?;
    let evidence = tokio::select! {
        evidence = run.everything(&trace) => evidence,
        stopped = interrupted() => Err(stopped),
    };
    if evidence.is_err() {
        console.progress("ending all processes");
        market.stop().await;
    }
    let facts = run.facts(evidence?, &trace).await;
    collector.passed_on(Duration::from_secs(3)).await;
    let checks = checks.into_all();
    Ok(Facts { checks, ..facts? })
}

struct Run<'a> {
    market: &'a Market,
    collector: &'a Collector,
    console: &'a Console,
    checks: &'a Checks<'a>,
    watch: Stopwatch,
    options: &'a RunOptions,
    /// The serial number of the certificate that was stolen.
    stolen: OnceCell<String>,
}

impl Run<'_> {
    async fn everything(&self, trace: &FirstTrace) -> Result<Evidence, SetupError> {
        let feed = Feed::default();
        let (own, front, (kills, hostile, stream)) = tokio::select! {
            outcome = self.live(trace, &feed) => outcome?,
            ended = self.watch_over() => return Err(ended),
            () = tokio::time::sleep(SCENARIO + STREAM) => {
                return Err(SetupError::Other("the run takes too long".into()));
            }
        };

        self.console.progress("comparing the books");
        let auditor = Auditor::new(self.market, &own.auditor).map_err(SetupError::Other)?;
        let books = auditor.compare(&feed.orders(), &self.market.paths.shipped("stock.toml")).await;
        self.note_books(&books, &stream);
        let list = self.market.admin.certificates().await;
        let action = || "list its certificates".to_owned();
        let certificates =
            list.map_err(|status| SetupError::Issuer { action: action(), status: Box::new(status) })?;

        let mut counted = self.counted(&kills).await?;
        counted.push(front);

        self.console.progress("ending all processes");
        drop(own);
        let bad = self.market.stop().await;
        let ended =
            if bad.is_empty() { Ok("SIGTERM, each within its drain time") } else { Err(bad.join(", ")) };
        self.checks.note("every process ended by itself when asked to", ended);
        Ok(Evidence { kills, hostile, books: books.ok(), stream, certificates, counted })
    }

    /// The orders flow from the moment the storefront is there to take them; the rest happens meanwhile.
    async fn live(
        &self,
        trace: &FirstTrace,
        feed: &Feed,
    ) -> Result<(Own, Counted, (Vec<Kill>, Hostile, Stream)), SetupError> {
        let shipped = self.market.paths.shipped("orders.jsonl");
        let source = self.options.orders.as_ref().unwrap_or(&shipped);
        let feeding = async {
            let started = async || self.market.storefront_input().ok_or_else(|| "it is not".to_owned());
            let input = wait::until("the storefront is started", SCENARIO, started).await?;
            let fed = feed.run(source, STREAM, input).await;
            fed.map_err(|source| SetupError::System { action: "hand over the orders".into(), source })
        };
        let rest = async {
            let own = self.set_up(trace).await?;
            self.shop(&own, feed, trace).await?;
            let ingress_port = self.market.ingress().await?.port();
            let trust_domain = trust_domain()?;
            let kept = |outcome: std::io::Result<()>| match outcome {
                Ok(()) => SetupError::Other("certs/dev is not kept fresh any more".into()),
                Err(source) => SetupError::System { action: "keep certs/dev fresh".into(), source },
            };
            let (kills, hostile) = tokio::select! {
                happened = self.scenario(&own, feed, ingress_port) => happened?,
                outcome = own.files.keep(own.dev.clone(), &trust_domain) => return Err(kept(outcome)),
            };
            feed.hurry();
            Ok((own, kills, hostile))
        };
        let ((), (own, mut kills, hostile)) = tokio::try_join!(feeding, rest)?;
        self.console.progress("waiting for the last orders");
        let stream = self.stream_end().await?;
        self.note_stream(&stream, feed);
        let (kill, counted) = self.front_again(&own, feed).await?;
        kills.push(kill);
        Ok((own, counted, (kills, hostile, stream)))
    }

    /// Watches for processes that end unexpectedly, and notes keys while they exist.
    async fn watch_over(&self) -> SetupError {
        loop {
            if let Err(ended) = self.market.all_running() {
                return ended;
            }
            self.market.note_keys();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Starts every process, each after those it calls.
    async fn set_up(&self, trace: &FirstTrace) -> Result<Own, SetupError> {
        let market = self.market;
        let none = BTreeMap::<String, OsString>::new;
        self.console.progress("starting the services");
        let services = async {
            tokio::try_join!(market.service("ledger", none()), market.service("inventory", none()))?;
            tokio::try_join!(market.service("payments", none()), market.service("reports", none()))?;
            market.service("orders", none()).await?;
            let env = BTreeMap::from([
                ("TRACEPARENT".to_owned(), trace.parent().into()),
                ("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), "-".into()),
            ]);
            trace.start_ns.set(self.watch.now_ns());
            market.service("storefront", env).await
        };
        let identities = async {
            tokio::try_join!(
                market.identity("dev", DEV_LIFE),
                market.identity("auditor", SVID_LIFE),
                market.identity("intern", SVID_LIFE)
            )
        };
        let ((), (dev, auditor, intern)) = tokio::try_join!(services, identities)?;
        let write = |source| SetupError::System { action: "write certs/dev".into(), source };
        let files = DevFiles::new(market.paths.certs.clone(), market.paths.state("dev")).map_err(write)?;
        files.write(&dev, &trust_domain()?).map_err(write)?;
        let after = format!("after {:.1} s", std::time::Duration::from_millis(self.watch.ms()).as_secs_f64());
        self.checks.note(
            "the issuer and six services are up, each enrolled with a token of its own",
            Ok::<_, String>(after),
        );
        Ok(Own { dev, auditor, intern, files })
    }

    /// An order through the front door, by the shopper `dev`.
    ///
    /// What the user's own first order goes through is not known beforehand, so then it is this one that has to be in
    /// the trace of the storefront's start from end to end.
    async fn shop(&self, own: &Own, feed: &Feed, trace: &FirstTrace) -> Result<(), SetupError> {
        let parent = self.options.orders.is_some().then(|| trace.parent());
        let seen = self.order_by_dev(own, feed, "demo-shopper-1", parent).await?;
        self.checks.note("a shopper’s order is allowed on every hop", seen);
        Ok(())
    }

    /// Places an order as `dev`, at the storefront's gRPC front.
    async fn order_by_dev(
        &self,
        own: &Own,
        feed: &Feed,
        order_id: &str,
        parent: Option<String>,
    ) -> Result<Result<String, String>, SetupError> {
        let order = Order {
            order_id: order_id.to_owned(),
            currency: "EUR".into(),
            lines: vec![crate::orders::Line {
                sku: "BOOK-0001".into(),
                quantity: 2,
                unit_price_minor: 1_250,
            }],
        };
        let mut request = tonic::Request::new(PlaceOrderRequest {
            order_id: order.order_id.clone(),
            customer_id: "demo-shopper".into(),
            currency: order.currency.clone(),
            lines: order.lines.iter().map(Into::into).collect(),
        });
        if let Some(Ok(parent)) = parent.map(|parent| parent.parse()) {
            request.metadata_mut().insert("traceparent", parent);
        }
        let channel = channel(self.market, &own.dev, "storefront").map_err(SetupError::Other)?;
        let answer = StorefrontClient::new(channel).place_order(request).await;
        feed.note(order);
        let state = answer.map(|answer| answer.into_inner().order.unwrap_or_default().state());
        Ok(match state {
            Ok(OrderState::Completed) => Ok("an order went through all services and is completed".to_owned()),
            Ok(state) => Err(state.as_str_name().to_owned()),
            Err(status) => Err(status.to_string()),
        })
    }
}

fn trust_domain() -> Result<TrustDomain, SetupError> {
    TRUST_DOMAIN.parse().map_err(|error| SetupError::Other(format!("{error}")))
}
