//! One order's trace, from the front door through every container it touches to a collector that is none of ours: OTLP
//! over mutual TLS, with certificates from files as any collector's operator makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::harness::{Node, NodeSpec, Outcome, World, ensure, eventually, scenario};
use crate::market::{Market, ServiceSpec, issuer, url};

const PORT: u16 = 4317;

/// Every process an order passes.
const PASSED: [&str; 5] = ["storefront", "orders", "inventory", "payments", "ledger"];

#[test]
fn one_orders_trace_crosses_every_container_and_reaches_a_collector_over_mutual_tls() -> Outcome {
    scenario("trace", |world| async move {
        let pki = Pki::new(&world.host("collector"))?;
        let collector = pki.collector(&world, "collector").start().await?;
        collector.record("listening", |record| record["message"] == "listening").await?;

        let exports = Exports { pki: &pki, collector: &collector };
        let issuer = issuer(&world, "issuer", "market.example", "svid_ttl = \"60s\"");
        let market = Market::behind(&world, exports.of_node(issuer, "issuer").start().await?).await?;
        for service in ["ledger", "inventory", "payments", "orders", "storefront"] {
            exports.of(market.service(service), service).start().await?;
        }
        let storefront = format!("https://{}:7001", world.host("storefront"));
        let shopped = ["shop", &storefront, "0.2", "1", "ord-traced"];
        let shopped = market.answer("shopper", "dev", &shopped).await?;
        ensure(shopped["failed"] == 0, format!("calls have failed: {shopped}"))?;

        whole_trace(&collector).await?;
        nobody_exports_without_a_certificate(&market, &pki, &collector).await
    })
}

/// Waits for a trace with a span of every process, all of them one tree.
async fn whole_trace(collector: &Node) -> Outcome {
    eventually("one trace through all processes", Duration::from_secs(30), || async {
        let mut traces: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for span in collector.records().await?.into_iter().filter(|record| record["message"] == "span") {
            traces.entry(text(&span, "trace")).or_default().push(span);
        }
        let whole = traces.into_values().find(|spans| {
            let services: BTreeSet<String> = spans.iter().map(|span| text(span, "service")).collect();
            PASSED.iter().all(|service| services.contains(*service)) && is_one_tree(spans)
        });
        Ok(whole.map(drop))
    })
    .await
}

fn is_one_tree(spans: &[Value]) -> bool {
    let known: BTreeSet<String> = spans.iter().map(|span| text(span, "span")).collect();
    let roots = spans.iter().filter(|span| !known.contains(&text(span, "parent")));
    roots.count() == 1
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// The same service with a client certificate of another CA: not a span of it arrives, and it says that it loses them.
async fn nobody_exports_without_a_certificate(market: &Market, trusted: &Pki, collector: &Node) -> Outcome {
    let stranger = Pki::new("stranger")?;
    let mixed = Pki { client: stranger.client, ..trusted.clone() };
    let exports = Exports { pki: &mixed, collector };
    let reports = exports.of(market.service("reports"), "reports-of-a-stranger").start().await?;
    market.answer("summary", "auditor", &["summaries", &url(&reports), "0.2", "1"]).await?;
    let lost = |record: &Value| record["level"] == "WARN" && text(record, "message").contains("collector");
    reports.record("spans that were lost", lost).await?;
    let seen = collector.records().await?;
    let arrived = seen.iter().any(|span| span["service"] == "reports-of-a-stranger");
    ensure(!arrived, "spans of a stranger have arrived")
}

/// What processes are told so that their spans arrive.
struct Exports<'a> {
    pki: &'a Pki,
    collector: &'a Node,
}

impl Exports<'_> {
    fn environment(&self, name: &str) -> [(&'static str, String); 7] {
        [
            ("OTEL_SERVICE_NAME", name.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{}:{PORT}", self.collector.host())),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/avouch/collectors-ca.crt".to_owned()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/etc/avouch/exporter.crt".to_owned()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/avouch/exporter.key".to_owned()),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ]
    }

    fn files(&self) -> [(&'static str, String); 3] {
        let (certificate, key) = &self.pki.client;
        [
            ("collectors-ca.crt", self.pki.ca.clone()),
            ("exporter.crt", certificate.clone()),
            ("exporter.key", key.clone()),
        ]
    }

    fn of<'a>(&self, spec: ServiceSpec<'a>, name: &str) -> ServiceSpec<'a> {
        let spec = self.environment(name).into_iter().fold(spec, |spec, (key, value)| spec.set(key, value));
        self.files().into_iter().fold(spec, |spec, (name, content)| spec.file(name, content))
    }

    fn of_node<'a>(&self, spec: NodeSpec<'a>, name: &str) -> NodeSpec<'a> {
        let spec = self.environment(name).into_iter().fold(spec, |spec, (key, value)| spec.env(key, value));
        self.files().into_iter().fold(spec, |spec, (name, content)| spec.file(name, content))
    }
}

/// A CA as a collector's operator has one, and what it has signed, as PEM.
#[derive(Clone)]
struct Pki {
    ca: String,
    server: (String, String),
    client: (String, String),
}

impl Pki {
    fn new(server: &str) -> Outcome<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the collectors' CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let signed = |name: &str| -> Outcome<(String, String)> {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &ca)?;
            Ok((certificate.pem(), key.serialize_pem()))
        };
        Ok(Self { server: signed(server)?, client: signed("exporter")?, ca: ca.pem() })
    }

    fn collector<'a>(&self, world: &'a World, name: &'a str) -> NodeSpec<'a> {
        let (certificate, key) = &self.server;
        world
            .node(name, "test-peers")
            .entrypoint("/usr/bin/collector")
            .command([PORT.to_string()])
            .file("collectors-ca.crt", self.ca.clone())
            .file("collector.crt", certificate.clone())
            .file("collector.key", key.clone())
    }
}
