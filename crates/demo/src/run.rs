//! One run from an empty directory to the facts: set up, traffic, attacks, kills and renewals at the same time, the
//! audit, the end, and what is left behind.
//!
//! Everything happens on one thread, the main one, since processes must be started from there (see
//! [`crate::launch`]). A failed check does not end a run; what makes going on impossible does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use avouch_identity::Identity;
use avouch_spiffe::TrustDomain;
use market_api::orders::v1::OrderState;
use market_api::storefront::v1::PlaceOrderRequest;
use market_api::storefront::v1::storefront_client::StorefrontClient;
use serde::Deserialize;

use crate::attacks::{self, Attempt};
use crate::audit::{Auditor, Books, channel};
use crate::checks::Checks;
use crate::console::{Console, Mark};
use crate::dev::DevFiles;
use crate::external::{self, Target};
use crate::facts::{Facts, Kill, Outcome, Problem, Refusal, Totals};
use crate::orders::{Feed, Order};
use crate::otlp::{Collector, Kind, SpanRecord};
use crate::place::{Place, SERVICES, TRUST_DOMAIN, id};
use crate::restarts::{self, Down};
use crate::setup::{DEV_LIFE, Market, Options, SVID_LIFE, SetupError, dns_name};
use crate::stopwatch::Stopwatch;
use crate::{gather, records, traces, wait};

/// How long the stream of orders is made to last: about as long as everything else.
const STREAM: Duration = Duration::from_secs(38);

/// The longest that everything which happens at the same time may take.
const SCENARIO: Duration = Duration::from_secs(150);

/// Renewals of each service that have to be seen.
const RENEWALS: usize = 2;

/// Lines of the stream that became no order are printed up to this many.
const SHOWN_PROBLEMS: usize = 2;

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where the orders come from; `-` is standard input. None: those that ship.
    pub orders: Option<PathBuf>,
}

/// What the storefront says became of its stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Stream {
    lines: u64,
    malformed: u64,
    invalid: u64,
    conflict: u64,
    repeated: u64,
    failed: u64,
    completed: u64,
    rejected: BTreeMap<String, u64>,
    revenue: BTreeMap<String, i64>,
    problems: Vec<Problem>,
}

impl Stream {
    /// Whether the same came of it, whatever is said about single lines.
    fn came_to(&self, expected: &Self) -> bool {
        Self { problems: Vec::new(), ..self.clone() } == Self { problems: Vec::new(), ..expected.clone() }
    }
}

/// What a run leaves behind.
struct Evidence {
    kills: Vec<Kill>,
    refusals: Vec<Refusal>,
    books: Option<Books>,
    stream: Stream,
    certificates: Vec<avouch_api::admin::v1::Certificate>,
}

/// The demo's own identities.
struct Own {
    dev: Identity,
    auditor: Identity,
    intern: Identity,
    files: DevFiles,
}

/// The trace of the first order: begun by the demo itself.
struct FirstTrace {
    trace_id: [u8; 16],
    root: [u8; 8],
    start_ns: Cell<u64>,
}

impl FirstTrace {
    fn new() -> Result<Self, SetupError> {
        let (mut trace_id, mut root) = ([0; 16], [0; 8]);
        let random = |bytes: &mut [u8]| {
            aws_lc_rs::rand::fill(bytes).map_err(|_| SetupError::Other("the system has no randomness".into()))
        };
        random(&mut trace_id)?;
        random(&mut root)?;
        Ok(Self { trace_id, root, start_ns: Cell::new(0) })
    }

    /// W3C trace context, sampled.
    fn parent(&self) -> String {
        format!("00-{}-{}-01", traces::hex(&self.trace_id), traces::hex(&self.root))
    }

    /// Adds the root to the spans, as long as all that is below it.
    fn end(&self, collector: &Collector) {
        let below = collector.spans().into_iter().filter(|span| span.trace_id == self.trace_id);
        let end_ns = below.map(|span| span.end_ns).max().unwrap_or(self.start_ns.get());
        collector.add(&SpanRecord {
            service: "demo".into(),
            trace_id: self.trace_id.to_vec(),
            span_id: self.root.to_vec(),
            parent_id: Vec::new(),
            name: "start and first order".into(),
            kind: Kind::Internal,
            start_ns: self.start_ns.get(),
            end_ns,
            attributes: BTreeMap::new(),
        });
    }
}

/// Runs the demo.
///
/// # Errors
/// What made it impossible to go on. Everything that was started has been ended by then.
pub async fn run(place: Place, options: &RunOptions, console: &Console) -> Result<Facts, SetupError> {
    let watch = Stopwatch::start();
    let forward = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|url| !url.is_empty());
    let (collector, otlp) = Collector::start(forward.as_deref()).await.map_err(SetupError::Other)?;
    let checks = Checks::new(console);
    console.progress("starting the issuer");
    let set_up = Options { otlp: Some(format!("http://{otlp}")), feed: true, ..Options::default() };
    let market = Market::start(place, set_up).await?;
    let run = Run { market: &market, collector: &collector, console, checks: &checks, watch, options };
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

/// Ctrl-C, or SIGTERM.
///
/// # Errors
/// Always: that is what it is for.
pub async fn interrupted() -> SetupError {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = match signal(SignalKind::terminate()) {
        Ok(term) => term,
        Err(source) => return SetupError::System { action: "listen for signals".into(), source },
    };
    let name = tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = term.recv() => "SIGTERM",
    };
    SetupError::Stopped(name)
}

struct Run<'a> {
    market: &'a Market,
    collector: &'a Collector,
    console: &'a Console,
    checks: &'a Checks<'a>,
    watch: Stopwatch,
    options: &'a RunOptions,
}

impl Run<'_> {
    async fn everything(&self, trace: &FirstTrace) -> Result<Evidence, SetupError> {
        let feed = Feed::default();
        let (own, (kills, refusals, stream)) = tokio::select! {
            outcome = self.live(trace, &feed) => outcome?,
            ended = self.watch_over() => return Err(ended),
            () = tokio::time::sleep(SCENARIO + STREAM) => {
                return Err(SetupError::Other("the run takes too long".into()));
            }
        };

        self.console.progress("comparing the books");
        let auditor = Auditor::new(self.market, &own.auditor).map_err(SetupError::Other)?;
        let books = auditor.compare(&feed.orders(), &self.market.place.shipped("stock.toml")).await;
        self.note_books(&books, &stream);
        let list = self.market.admin.certificates().await;
        let action = || "list its certificates".to_owned();
        let certificates =
            list.map_err(|status| SetupError::Issuer { action: action(), status: Box::new(status) })?;

        self.console.progress("ending all processes");
        drop(own);
        let bad = self.market.stop().await;
        let ended =
            if bad.is_empty() { Ok("SIGTERM, each within its drain time") } else { Err(bad.join(", ")) };
        self.checks.note("every process ended by itself when asked to", ended);
        Ok(Evidence { kills, refusals, books: books.ok(), stream, certificates })
    }

    /// The orders flow from the moment the storefront is there to take them; the rest happens meanwhile.
    async fn live(
        &self,
        trace: &FirstTrace,
        feed: &Feed,
    ) -> Result<(Own, (Vec<Kill>, Vec<Refusal>, Stream)), SetupError> {
        let shipped = self.market.place.shipped("orders.jsonl");
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
            let (kills, refusals) = tokio::select! {
                happened = self.scenario(&own, feed, ingress_port) => happened?,
                outcome = own.files.keep(own.dev.clone(), &trust_domain) => return Err(kept(outcome)),
            };
            feed.hurry();
            Ok((own, kills, refusals))
        };
        let ((), (own, kills, refusals)) = tokio::try_join!(feeding, rest)?;
        self.console.progress("waiting for the last orders");
        let stream = self.stream_end().await?;
        self.note_stream(&stream, feed);
        Ok((own, (kills, refusals, stream)))
    }

    /// Notices a process that ends although nobody told it to, and notes keys while they exist.
    async fn watch_over(&self) -> SetupError {
        loop {
            if let Err(ended) = self.market.all_running() {
                return ended;
            }
            self.market.note_keys();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Everybody up, each after those it calls.
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
        let files = DevFiles::new(market.place.certs.clone(), market.place.state("dev")).map_err(write)?;
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
        let order = Order {
            order_id: "demo-shopper-1".into(),
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
        if let (true, Ok(parent)) = (self.options.orders.is_some(), trace.parent().parse()) {
            request.metadata_mut().insert("traceparent", parent);
        }
        let channel = channel(self.market, &own.dev, "storefront").map_err(SetupError::Other)?;
        let answer = StorefrontClient::new(channel).place_order(request).await;
        feed.note(order);
        let state = answer.map(|answer| answer.into_inner().order.unwrap_or_default().state());
        let seen = match state {
            Ok(OrderState::Completed) => Ok("an order went through all services and is completed".to_owned()),
            Ok(state) => Err(state.as_str_name().to_owned()),
            Err(status) => Err(status.to_string()),
        };
        self.checks.note("a shopper’s order is allowed on every hop", seen);
        Ok(())
    }

    /// All that happens at the same time.
    async fn scenario(
        &self,
        own: &Own,
        feed: &Feed,
        ingress_port: u16,
    ) -> Result<(Vec<Kill>, Vec<Refusal>), SetupError> {
        let (kills, refusals, (), ()) = tokio::try_join!(
            self.kills(feed),
            self.attacks(own),
            self.seen_from_outside(ingress_port, feed),
            self.renewals(feed)
        )?;
        Ok((kills, refusals))
    }

    async fn kills(&self, feed: &Feed) -> Result<Vec<Kill>, SetupError> {
        let ms = || self.watch.ms();
        let reports = async {
            let kill = restarts::kill(self.market, "reports", Down::UntilExpired, ms).await?;
            let recovered = self.issued("reports", "recover").await?;
            let away = Duration::from_millis(kill.ready_ms - kill.killed_ms).as_secs_f64();
            let seen = format!("kill -9, {away:.0} s away, back by Recover");
            let seen = if recovered == 1 { Ok(seen) } else { Err(format!("{recovered} recoveries")) };
            self.checks.note("reports comes back after its certificate has expired", seen);
            Ok::<_, SetupError>(kill)
        };
        let others = async {
            // In the middle of the stream, and the issuer while others renew.
            self.reach("the stream of orders runs", async || {
                feed.sent() >= 20 || feed.sent() > 0 && ms() > 8_000
            })
            .await?;
            let ledger = restarts::kill(self.market, "ledger", Down::AtOnce, ms).await?;
            let seen = format!("kill -9, ready again {} ms later", ledger.ready_ms - ledger.killed_ms);
            self.checks.note("the ledger comes back at once", Ok::<_, String>(seen));
            self.reach("a service has renewed", async || self.renewed().await.values().any(|n| *n > 0))
                .await?;
            let issuer = restarts::kill(self.market, "issuer", Down::AtOnce, ms).await?;
            let seen = format!("kill -9, ready again {} ms later", issuer.ready_ms - issuer.killed_ms);
            self.checks.note("the issuer comes back at once", Ok::<_, String>(seen));
            Ok::<_, SetupError>((ledger, issuer))
        };
        let (reports, (ledger, issuer)) = tokio::try_join!(reports, others)?;
        Ok(vec![reports, ledger, issuer])
    }

    async fn attacks(&self, own: &Own) -> Result<Vec<Refusal>, SetupError> {
        let market = self.market;
        let auditor = Auditor::new(market, &own.auditor).map_err(SetupError::Other)?;
        let bundle = market.admin.bundle(&trust_domain()?).await.map_err(SetupError::Other)?;
        let storefront = market.address("storefront")?.grpc;
        let payments = market.address("payments")?.grpc;
        let forbidden =
            attacks::charge(channel(market, &own.intern, "payments").map_err(SetupError::Other)?).await;
        let anonymous =
            attacks::without_certificate(&payments.to_string(), &dns_name("payments"), &bundle).await;
        let url = format!("https://{storefront}");
        let server = id("storefront").parse().map_err(|error| SetupError::Other(format!("{error}")))?;
        let claimed = id("dev").parse().map_err(|error| SetupError::Other(format!("{error}")))?;
        let forged = match attacks::impostor(&claimed, &url, server, bundle) {
            Ok(channel) => attacks::order(channel).await,
            Err(error) => Err(error),
        };
        // An allowed call right beside them, so that nobody takes an outage for a refusal. Its service may be away on
        // purpose at this moment: then it is the books that show it.
        let allowed = auditor.ledger_totals().await;
        self.checks.note(
            "a call with the role it needs is allowed",
            allowed
                .map(|postings| format!("auditor asked the ledger: {postings} postings"))
                .map_err(|s| s.to_string()),
        );
        let mut refusals = Vec::new();
        for (caller, callee, what, expected, outcome) in [
            (
                "intern",
                "payments",
                "a valid certificate of the market, but no role",
                "ROLE_MISSING",
                forbidden,
            ),
            ("nobody", "payments", "no certificate", "CLIENT_CERT_MISSING", anonymous),
            (
                "impostor",
                "storefront",
                "the identity of dev, certified by another CA",
                "CERT_UNTRUSTED",
                forged,
            ),
        ] {
            refusals.push(self.refusal(caller, callee, what, expected, outcome).await);
        }
        Ok(refusals)
    }

    /// Looks the server's record up, and compares the reasons.
    async fn refusal(
        &self,
        caller: &str,
        callee: &str,
        what: &str,
        expected: &str,
        outcome: Result<Attempt, String>,
    ) -> Refusal {
        let claim = format!("{caller} ({what}) is refused by {callee}");
        let mut refusal = Refusal {
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            attempt: what.to_owned(),
            expected: expected.to_owned(),
            answer: String::new(),
            caller_reason: None,
            server_reason: None,
            detail: String::new(),
            record: None,
        };
        let attempt = match outcome {
            Ok(attempt) => attempt,
            Err(error) => {
                self.checks.note(&claim, Err::<String, _>(&error));
                refusal.answer = error;
                return refusal;
            }
        };
        let log = self.market.place.log(callee);
        let found = wait::until("the server's record", Duration::from_secs(5), async || {
            let (field, value) =
                attempt.record.as_ref().ok_or("the caller was told nothing to find it by")?;
            let records = records::read(&log);
            let record = records::refusal(&records, field, value);
            record.cloned().ok_or_else(|| format!("no record with {field} {value} in {}", log.display()))
        });
        match found.await {
            Ok(record) => {
                let text = |name| records::field(&record, name).map(str::to_owned);
                refusal.server_reason = text("reason");
                refusal.record = text("decision_id").or_else(|| text("connection_id"));
                let roles = || Some(format!("needs {}, has {}", text("need")?, nothing(text("have")?)));
                refusal.detail = text("detail").or_else(roles).unwrap_or_else(|| attempt.message.clone());
            }
            Err(error) => refusal.detail = error.to_string(),
        }
        refusal.answer = attempt.answer;
        refusal.caller_reason = attempt.reason;
        let told = refusal.caller_reason.as_deref().unwrap_or_default();
        let both = format!("{expected} (the caller: {})", [&refusal.answer, told].join(" ").trim_end());
        // Only the server knows for certain; the caller may be told less, but nothing else.
        let fits =
            told.is_empty() || told == expected || told == "HANDSHAKE_REFUSED" || told == "CERT_UNTRUSTED";
        let seen = if refusal.server_reason.as_deref() == Some(expected) && fits {
            Ok(both)
        } else {
            Err(format!(
                "{:?} in the server's record, {told} at the caller: {}",
                refusal.server_reason, refusal.detail
            ))
        };
        self.checks.note(&claim, seen);
        refusal
    }

    /// openssl and curl at the storefront's ingress.
    async fn seen_from_outside(&self, port: u16, feed: &Feed) -> Result<(), SetupError> {
        let file = self.market.place.shipped("order.json");
        let order = std::fs::read_to_string(&file);
        let order = order
            .map_err(|source| SetupError::System { action: format!("read {}", file.display()), source })?;
        let target = Target { certs: self.market.place.certs.clone(), port, order };
        for check in external::checks(&target).await {
            if check.claim.starts_with("curl places")
                && check.outcome == Outcome::Held
                && let Ok(order) = serde_json::from_str(&target.order)
            {
                feed.note(order);
            }
            self.checks.add(check);
        }
        Ok(())
    }

    async fn renewals(&self, feed: &Feed) -> Result<(), SetupError> {
        let enough = async || {
            let renewed = self.renewed().await;
            let least =
                SERVICES.iter().map(|name| renewed.get(*name).copied().unwrap_or(0)).min().unwrap_or(0);
            let counts: Vec<_> = renewed.iter().map(|(name, count)| format!("{name} {count}")).collect();
            self.console.progress(&format!("{} orders; renewals: {}", feed.sent(), counts.join(" ")));
            tokio::time::sleep(Duration::from_millis(250)).await;
            if least >= RENEWALS { Ok(counts.join(", ")) } else { Err(counts.join(", ")) }
        };
        let seen = wait::until("every service has renewed twice", SCENARIO, enough).await;
        self.checks.note("every service renewed at least twice", seen);
        Ok(())
    }

    /// Renewals so far, by service. The issuer may be away at this moment: then nothing is known.
    async fn renewed(&self) -> BTreeMap<&'static str, usize> {
        let certificates = self.market.admin.certificates().await.unwrap_or_default();
        let count = |name: &str| {
            let own = id(name);
            certificates.iter().filter(|c| c.spiffe_id == own && c.origin == "renew").count()
        };
        SERVICES.iter().map(|name| (*name, count(name))).collect()
    }

    async fn issued(&self, name: &str, origin: &str) -> Result<usize, SetupError> {
        let own = id(name);
        let asked = wait::until("the issuer lists its certificates", Duration::from_secs(10), async || {
            self.market.admin.certificates().await.map_err(|status| status.to_string())
        });
        Ok(asked.await?.iter().filter(|c| c.spiffe_id == own && c.origin == origin).count())
    }

    async fn reach(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<(), SetupError> {
        let reached = async || if condition().await { Ok(()) } else { Err("not yet".to_owned()) };
        Ok(wait::until(what, SCENARIO, reached).await?)
    }

    async fn stream_end(&self) -> Result<Stream, SetupError> {
        let file = self.market.place.of_process("storefront").join("result.json");
        let read = async || {
            let text = std::fs::read(&file).map_err(|error| error.to_string())?;
            serde_json::from_slice(&text).map_err(|error| error.to_string())
        };
        Ok(wait::until("the storefront has worked the stream off", SCENARIO, read).await?)
    }

    fn note_stream(&self, stream: &Stream, feed: &Feed) {
        let rejected: u64 = stream.rejected.values().sum();
        let ends = stream.completed
            + rejected
            + stream.malformed
            + stream.invalid
            + stream.conflict
            + stream.repeated;
        let seen = if stream.lines == feed.sent() && ends == stream.lines && stream.failed == 0 {
            Ok(format!(
                "{} lines: {} completed, {rejected} rejected, {} no orders, {} repeated",
                stream.lines,
                stream.completed,
                stream.malformed + stream.invalid + stream.conflict,
                stream.repeated
            ))
        } else {
            Err(format!("{} lines were sent; the storefront says {stream:?}", feed.sent()))
        };
        self.checks.note("every order of the stream came to its end", seen);
        for problem in stream.problems.iter().take(SHOWN_PROBLEMS) {
            let line = format!("    line {}: {}: {}", problem.line, problem.kind, problem.reason);
            self.console.line(Mark::Plain, &line);
        }
        if let Some(more) = stream.problems.len().checked_sub(SHOWN_PROBLEMS).filter(|more| *more > 0) {
            self.console
                .line(Mark::Plain, &format!("    … and {more} more lines, all of them in the report"));
        }
        if self.options.orders.is_none() {
            let file = self.market.place.shipped("expected.json");
            let expected = std::fs::read(&file).map_err(|error| error.to_string());
            let expected =
                expected.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            let seen = match expected {
                Ok(expected) if stream.came_to(&expected) => Ok("expected.json"),
                Ok(expected) => Err(format!("expected {expected:?}, got {stream:?}")),
                Err(error) => Err(error),
            };
            self.checks.note("the outcomes are those that these orders must have", seen);
        }
    }

    fn note_books(&self, books: &Result<Books, String>, stream: &Stream) {
        let sold =
            books.as_ref().map(|books| format!("{} postings, {} pieces", books.postings, books.pieces));
        let enough = books.as_ref().map_or(true, |books| books.completed >= stream.completed);
        let seen = match sold {
            Ok(_) if !enough => {
                Err("the orders service has fewer completed orders than the storefront saw".to_owned())
            }
            Ok(sold) => Ok(sold),
            Err(error) => Err(error.clone()),
        };
        self.checks.note("orders, stock, ledger and report agree", seen);
    }

    /// Draws the facts from what is left behind.
    async fn facts(&self, evidence: Evidence, trace: &FirstTrace) -> Result<Facts, SetupError> {
        self.console.progress("drawing the report");
        let Evidence { mut kills, refusals, books, stream, certificates } = evidence;
        let place = &self.market.place;
        trace.end(self.collector);
        let spans = self.collector.spans();
        let contracts = [&market_api::CONTRACT, &avouch_api::CONTRACT];
        let streams: Vec<&str> = contracts
            .iter()
            .flat_map(|contract| contract.methods)
            .filter(|method| method.server_streaming)
            .map(|method| method.path)
            .collect();
        let calls = gather::calls(&traces::calls(&spans), &streams, &mut kills, &self.watch);
        let seen = match calls.failed {
            0 if calls.all > 0 => {
                Ok(format!("{} calls, {} failed while a process was dead", calls.all, calls.excused))
            }
            0 => Err("no call was seen at all".to_owned()),
            failed => Err(format!("{failed} of {}: {}", calls.all, calls.examples.join("; "))),
        };
        self.checks.note("no call failed outside the kill windows", seen);

        let tree = traces::tree(&spans, &trace.trace_id);
        let expected: Vec<&str> =
            SERVICES.iter().copied().filter(|name| *name != "reports").chain(["issuer"]).collect();
        let seen = match &tree {
            Ok(tree) => {
                match expected.iter().find(|name| !tree.services.iter().any(|service| service == *name)) {
                    Some(missing) => Err(format!("{missing} is not in the trace")),
                    None => Ok(format!("{} spans of {} processes", tree.spans.len(), tree.services.len())),
                }
            }
            Err(error) => Err(error.clone()),
        };
        self.checks
            .note("one order is one connected trace over all processes, the issuer’s spans included", seen);

        let matrix = gather::matrix(&place.shipped("policy.toml"), &contracts).map_err(SetupError::Other)?;
        let edges = gather::edges(&spans, place, &refusals);
        let certificates = gather::certificates(&certificates, &self.watch);
        let count = |origin: &str| {
            let services: Vec<String> = SERVICES.iter().map(|name| id(name)).collect();
            let own = certificates.iter().filter(|c| c.origin == origin && services.contains(&c.spiffe_id));
            u64::try_from(own.count()).unwrap_or(u64::MAX)
        };
        let books = books.unwrap_or_default();
        let totals = Totals {
            lines: stream.lines,
            malformed: stream.malformed,
            orders: books.orders,
            completed: books.completed,
            rejected: books.rejected.clone(),
            calls: calls.all,
            failed_calls: calls.failed,
            failed_in_kill_windows: calls.excused,
            renewals: count("renew"),
            recoveries: count("recover"),
            sales: books.sales.clone(),
            postings: books.postings,
            pieces: books.pieces,
        };
        self.search_for_secrets();
        Ok(Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.watch.started(),
            lasted_ms: self.watch.ms(),
            trust_domain: TRUST_DOMAIN.to_owned(),
            svid_seconds: SVID_LIFE.as_secs(),
            checks: Vec::new(),
            parties: gather::parties(&matrix),
            edges,
            certificates,
            kills,
            refusals,
            matrix,
            trace: tree.ok(),
            totals,
            problems: stream.problems,
            next: crate::next_commands(crate::up::INGRESS_PORT),
        })
    }

    fn search_for_secrets(&self) {
        self.market.note_keys();
        let place = &self.market.place;
        let logs: Vec<PathBuf> =
            SERVICES.iter().copied().chain(["issuer"]).map(|name| place.log(name)).collect();
        let secrets = self.market.secrets.borrow();
        let leaks = secrets.leaks(&logs);
        let bytes: u64 =
            logs.iter().filter_map(|log| log.metadata().ok()).map(|metadata| metadata.len()).sum();
        let seen = match leaks.first() {
            None => Ok(format!("{} pieces looked for in {} kB", secrets.len(), bytes / 1024)),
            Some(leak) => {
                Err(format!("{} leaks, the first in {} line {}", leaks.len(), leak.file.display(), leak.line))
            }
        };
        self.checks.note("no key and no token is in any log", seen);
    }
}

fn nothing(roles: String) -> String {
    if roles.is_empty() { "none".to_owned() } else { roles }
}

fn trust_domain() -> Result<TrustDomain, SetupError> {
    TRUST_DOMAIN.parse().map_err(|error| SetupError::Other(format!("{error}")))
}
