//! The part of the market that scenarios run: an issuer, the ledger, payments; each in a container of its own, each
//! with an identity that the issuer gave it for a join token.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Finished, Node, Outcome, World};

const ISSUER_PORT: u16 = 7800;
const PORT: u16 = 7001;

/// The roles of the scenarios' callers. `reports` holds none, so whoever is `reports` may call nothing.
const POLICY: &str = r#"
[roles]
charger = ["spiffe://market.example/orders"]
ledger-writer = ["spiffe://market.example/payments"]
ledger-reader = ["spiffe://market.example/auditor"]
"#;

/// A running issuer and two services behind it.
pub(crate) struct Market {
    pub(crate) issuer: Arc<Node>,
    pub(crate) ledger: Arc<Node>,
    pub(crate) payments: Arc<Node>,
    world: Arc<World>,
}

impl Market {
    /// Starts all three; they are ready when this returns.
    pub(crate) async fn start(world: &Arc<World>) -> Outcome<Self> {
        let issuer = start_issuer(world).await?;
        let ledger_settings = "[ledger]\ndatabase = \"/var/lib/avouch/ledger.db\"\n";
        let ledger = start_service(world, &issuer, "ledger", ledger_settings).await?;
        let payments_settings = format!(
            "[payments]\ndatabase = \"/var/lib/avouch/payments.db\"\n[payments.default_limits]\nEUR = 500000\n\
             [upstreams.ledger]\nurl = \"{}\"\nid = \"spiffe://market.example/ledger\"\n",
            url(&ledger)
        );
        let payments = start_service(world, &issuer, "payments", &payments_settings).await?;
        Ok(Self { issuer, ledger, payments, world: Arc::clone(world) })
    }

    /// A join token for `spiffe://market.example/<name>`, registered if it is not yet.
    pub(crate) async fn token(&self, name: &str) -> Outcome<String> {
        token(&self.issuer, name).await
    }

    /// Runs the honest caller as `spiffe://market.example/<identity>`.
    pub(crate) async fn call(&self, name: &str, identity: &str, call: &[&str]) -> Outcome<Finished> {
        let issuer = self.issuer_address();
        let arguments = [issuer.as_str(), "/etc/avouch/join-token"].into_iter().chain(call.iter().copied());
        let spec = self.world.node(name, "test-peers").entrypoint("/usr/bin/caller").command(arguments);
        let caller = spec.file("join-token", self.token(identity).await?).start().await?;
        caller.finished(Duration::from_secs(30)).await
    }

    /// Runs the hostile caller, which exits with 0 when it was refused; returns its report.
    pub(crate) async fn attack(&self, name: &str, target: &Node, more: &[&str]) -> Outcome<Value> {
        let target = format!("{}:{PORT}", target.host());
        let arguments = [name, target.as_str()].into_iter().chain(more.iter().copied());
        let spec = self.world.node(name, "test-peers").entrypoint("/usr/bin/hostile").command(arguments);
        let attacker = spec.start().await?;
        let report = attacker.finished(Duration::from_secs(30)).await?.success(name)?;
        Ok(serde_json::from_str(&report)?)
    }

    /// `host:port` of the issuer.
    pub(crate) fn issuer_address(&self) -> String {
        format!("{}:{ISSUER_PORT}", self.issuer.host())
    }
}

/// How a service is addressed.
pub(crate) fn url(service: &Node) -> String {
    format!("https://{}:{PORT}", service.host())
}

async fn start_issuer(world: &World) -> Outcome<Arc<Node>> {
    let config = format!(
        "[service]\nlisten = \"0.0.0.0:{ISSUER_PORT}\"\n\
         [issuer]\ntrust_domain = \"market.example\"\ndata_dir = \"/var/lib/avouch/issuer\"\n\
         admin_socket = \"/run/avouch/admin/admin.sock\"\nsvid_ttl = \"60s\"\n"
    );
    let spec = world.node("issuer", "issuer").file("issuer.toml", config);
    let spec = spec.env("AVOUCH_CONFIG", "/etc/avouch/issuer.toml");
    let issuer = spec.env("AVOUCH_ADMIN_SOCKET", "/run/avouch/admin/admin.sock").start().await?;
    issuer.record("being ready", ready).await?;
    Ok(issuer)
}

async fn start_service(world: &World, issuer: &Node, name: &str, settings: &str) -> Outcome<Arc<Node>> {
    let config = format!(
        "[service]\nlisten = \"0.0.0.0:{PORT}\"\n\
         [identity]\nsource = \"issuer\"\naddress = \"{}:{ISSUER_PORT}\"\n\
         join_token_file = \"/etc/avouch/join-token\"\nstate_dir = \"/var/lib/avouch/identity\"\n\
         [authz]\npolicy = \"/etc/avouch/policy.toml\"\n{settings}",
        issuer.host()
    );
    let spec = world.node(name, name).file("service.toml", config).file("policy.toml", POLICY);
    let spec = spec.file("join-token", token(issuer, name).await?);
    let service = spec.env("AVOUCH_CONFIG", "/etc/avouch/service.toml").start().await?;
    service.record("being ready", ready).await?;
    Ok(service)
}

async fn token(issuer: &Node, name: &str) -> Outcome<String> {
    let id = format!("spiffe://market.example/{name}");
    let known = issuer.exec(&["/usr/bin/avouch", "entry", "show", &id]).await?;
    if known.status != 0 {
        issuer.exec(&["/usr/bin/avouch", "entry", "add", &id]).await?.success("adding an entry")?;
    }
    let created = issuer.exec(&["/usr/bin/avouch", "token", "create", &id]).await?;
    Ok(created.success("creating a token")?.trim().to_owned())
}

fn ready(record: &Value) -> bool {
    record["message"] == "serving"
}
