//! The market of the scenarios: an issuer, and whichever of its services a scenario starts, each in a container of its
//! own, with the configuration and the policy that the demo ships, and with an identity that it got for a join token.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Failure, Finished, Node, NodeSpec, Outcome, Volume, World, root};

const ISSUER_PORT: u16 = 7800;
const PORT: u16 = 7001;
const TRUST_DOMAIN: &str = "market.example";

/// Connections that were accepted are told at the debug level.
const LOG: &str = "info,avouch_identity::record=debug";

pub(crate) const JOIN_TOKEN: &str = "join-token";

/// Whom each service calls.
const UPSTREAMS: [(&str, &[&str]); 6] = [
    ("ledger", &[]),
    ("inventory", &[]),
    ("payments", &["ledger"]),
    ("orders", &["inventory", "payments"]),
    ("reports", &["ledger"]),
    ("storefront", &["orders"]),
];

/// Beside the demo's articles one of which there is enough for any load.
pub(crate) const LOAD_STOCK: u64 = 1_000_000;

/// A running issuer, and what it takes to start services behind it.
pub(crate) struct Market {
    pub(crate) issuer: Arc<Node>,
    trust_domain: &'static str,
    world: Arc<World>,
}

impl Market {
    /// Starts the issuer; `settings` are lines of its `[issuer]` section, as `svid_ttl = "15s"`.
    pub(crate) async fn begin(world: &Arc<World>, settings: &str) -> Outcome<Self> {
        let issuer = issuer(world, "issuer", TRUST_DOMAIN, settings).start().await?;
        Self::behind(world, issuer).await
    }

    /// Behind an issuer that was started as [`issuer`] describes it.
    pub(crate) async fn behind(world: &Arc<World>, issuer: Arc<Node>) -> Outcome<Self> {
        Self::of(world, issuer, TRUST_DOMAIN).await
    }

    /// As [`Market::behind`], of another trust domain.
    pub(crate) async fn of(
        world: &Arc<World>,
        issuer: Arc<Node>,
        trust_domain: &'static str,
    ) -> Outcome<Self> {
        issuer.record("being ready", ready).await?;
        Ok(Self { issuer, trust_domain, world: Arc::clone(world) })
    }

    /// Describes a service of the market, as the demo has it.
    pub(crate) fn service<'a>(&'a self, name: &'a str) -> ServiceSpec<'a> {
        let mut environment = vec![
            ("SERVICE__LISTEN".to_owned(), format!("0.0.0.0:{PORT}")),
            ("HEALTH__LISTEN".to_owned(), "127.0.0.1:8080".to_owned()),
            ("IDENTITY__ADDRESS".to_owned(), self.issuer_address()),
            ("IDENTITY__JOIN_TOKEN_FILE".to_owned(), "/etc/avouch/join-token".to_owned()),
            ("IDENTITY__STATE_DIR".to_owned(), "/var/lib/avouch/identity".to_owned()),
            ("AUTHZ__POLICY".to_owned(), "/etc/avouch/policy.toml".to_owned()),
            ("RUST_LOG".to_owned(), LOG.to_owned()),
        ];
        let own = name.to_uppercase();
        match name {
            "storefront" => {
                // No stream unless a scenario asks for one.
                environment.push((format!("{own}__ORDERS_FILE"), "/dev/null".to_owned()));
                environment.push((format!("{own}__RESULT_FILE"), "/var/lib/avouch/result.json".to_owned()));
                environment.push((format!("{own}__INGRESS_LISTEN"), "0.0.0.0:7443".to_owned()));
            }
            _ => environment.push((format!("{own}__DATABASE"), format!("/var/lib/avouch/{name}.db"))),
        }
        if name == "inventory" {
            environment.push((format!("{own}__STOCK"), "/etc/avouch/stock.toml".to_owned()));
        }
        let spec = ServiceSpec {
            market: self,
            service: name,
            node: name,
            image: name,
            environment,
            files: Vec::new(),
            volumes: Vec::new(),
        };
        upstreams(name).iter().fold(spec, |spec, upstream| {
            spec.upstream(upstream, &format!("{}:{PORT}", self.world.host(upstream)))
        })
    }

    /// Starts these services, in this order.
    pub(crate) async fn start<const N: usize>(&self, names: [&str; N]) -> Outcome<[Arc<Node>; N]> {
        let mut started = Vec::new();
        for name in names {
            started.push(self.service(name).start().await?);
        }
        started.try_into().map_err(|_other_number| Failure::new("as many services as names"))
    }

    /// A join token for `spiffe://market.example/<name>`, registered if it is not yet.
    pub(crate) async fn token(&self, name: &str) -> Outcome<String> {
        token(&self.issuer, &format!("spiffe://{}/{name}", self.trust_domain)).await
    }

    /// Runs the honest caller as `spiffe://market.example/<identity>`, to its end.
    pub(crate) async fn call(&self, name: &str, identity: &str, call: &[&str]) -> Outcome<Finished> {
        self.caller(name, identity, call).await?.finished(Duration::from_secs(30)).await
    }

    /// Starts the honest caller as `spiffe://market.example/<identity>` on a load; it has begun when this returns.
    pub(crate) async fn load(&self, name: &str, identity: &str, load: &[&str]) -> Outcome<Arc<Node>> {
        let caller = self.caller(name, identity, load).await?;
        caller.record("calls", |record| record["message"] == "calling").await?;
        Ok(caller)
    }

    /// Starts the honest caller as `spiffe://market.example/<identity>`.
    pub(crate) async fn caller(&self, name: &str, identity: &str, call: &[&str]) -> Outcome<Arc<Node>> {
        let issuer = self.issuer_address();
        let arguments = [issuer.as_str(), "/etc/avouch/join-token"].into_iter().chain(call.iter().copied());
        let spec = self.world.node(name, "test-peers").entrypoint("/usr/bin/caller").command(arguments);
        spec.file(JOIN_TOKEN, self.token(identity).await?).start().await
    }

    /// As [`Market::call`], of a call that has to succeed; its answer.
    pub(crate) async fn answer(&self, name: &str, identity: &str, call: &[&str]) -> Outcome<Value> {
        let answer = self.call(name, identity, call).await?.success(name)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Runs the attacker to its end; the lines of its report.
    pub(crate) async fn attack(
        &self,
        name: &str,
        command: &[&str],
        files: &[(&str, String)],
    ) -> Outcome<Vec<Value>> {
        let attacker = self.attacker(name, command, files).await?;
        let report = attacker.finished(Duration::from_secs(90)).await?.success(name)?;
        Ok(report.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Starts the attacker, with these files at `/etc/avouch`.
    pub(crate) async fn attacker(
        &self,
        name: &str,
        command: &[&str],
        files: &[(&str, String)],
    ) -> Outcome<Arc<Node>> {
        let spec = self.world.node(name, "test-peers").entrypoint("/usr/bin/hostile");
        let spec = spec.command(command.iter().copied()).descriptors(8_192);
        files.iter().fold(spec, |spec, (file, content)| spec.file(file, content.as_str())).start().await
    }

    /// What a thief takes from the issuer's data directory: its authorities, keys included.
    pub(crate) async fn stolen(&self) -> Outcome<Vec<(&'static str, String)>> {
        let mut files = Vec::new();
        for name in ["root.crt", "root.key", "signing.pem"] {
            files.push((name, self.issuer.take(&format!("/var/lib/avouch/issuer/{name}")).await?));
        }
        Ok(files)
    }

    /// `host:port` of the issuer.
    pub(crate) fn issuer_address(&self) -> String {
        format!("{}:{ISSUER_PORT}", self.issuer.host())
    }
}

/// A service to be.
pub(crate) struct ServiceSpec<'a> {
    market: &'a Market,
    service: &'a str,
    node: &'a str,
    image: &'a str,
    environment: Vec<(String, String)>,
    files: Vec<(&'a str, String)>,
    volumes: Vec<(&'a Volume, &'a str)>,
}

impl<'a> ServiceSpec<'a> {
    /// The container's name; the service's unless said otherwise.
    pub(crate) fn named(mut self, node: &'a str) -> Self {
        self.node = node;
        self
    }

    /// Another image than the service's.
    pub(crate) fn image(mut self, image: &'a str) -> Self {
        self.image = image;
        self
    }

    /// A configuration key, as `SERVICE__DRAIN_TIMEOUT`, or an environment variable; a later one wins.
    pub(crate) fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.environment.push((key.to_owned(), value.into()));
        self
    }

    /// Where one of its upstreams is, as `host:port`.
    pub(crate) fn upstream(self, name: &str, address: &str) -> Self {
        self.set(&format!("UPSTREAMS__{}__URL", name.to_uppercase()), format!("https://{address}"))
    }

    /// A file at `/etc/avouch/<name>`. One called `join-token` is used instead of a new token.
    pub(crate) fn file(mut self, name: &'a str, content: impl Into<String>) -> Self {
        self.files.push((name, content.into()));
        self
    }

    /// A volume at `path`.
    pub(crate) fn volume(mut self, volume: &'a Volume, path: &'a str) -> Self {
        self.volumes.push((volume, path));
        self
    }

    /// Starts it; it is ready when this returns.
    pub(crate) async fn start(self) -> Outcome<Arc<Node>> {
        let service = self.start_unready().await?;
        service.record("being ready", ready).await?;
        Ok(service)
    }

    /// Starts it, and waits for nothing.
    pub(crate) async fn start_unready(self) -> Outcome<Arc<Node>> {
        let shipped = |path: &str| std::fs::read_to_string(root().join("deploy").join(path));
        let spec = self.market.world.node(self.node, self.image);
        let mut spec = spec
            .env("AVOUCH_CONFIG", "/etc/avouch/service.toml")
            .file("service.toml", shipped(&format!("config/{}.toml", self.service))?)
            .file("policy.toml", shipped("demo/policy.toml")?)
            .file("stock.toml", shipped("demo/stock.toml")? + &load_article());
        if !self.files.iter().any(|(name, _)| *name == JOIN_TOKEN) {
            spec = spec.file(JOIN_TOKEN, self.market.token(self.service).await?);
        }
        for (name, content) in self.files {
            spec = spec.file(name, content);
        }
        // Where `avouch` asks it.
        spec = spec.env("AVOUCH_SERVICE__ADDRESS", format!("{}:{PORT}", self.market.world.host(self.node)));
        for (key, value) in self.environment {
            // Configuration has a section and a key; whatever has not is of the program's surroundings.
            spec = spec.env(&if key.contains("__") { format!("AVOUCH_{key}") } else { key }, value);
        }
        for (volume, path) in self.volumes {
            spec = spec.volume(volume, path);
        }
        spec.start().await
    }
}

/// Describes an issuer; `settings` are lines of its `[issuer]` section.
pub(crate) fn issuer<'a>(
    world: &'a World,
    name: &'a str,
    trust_domain: &str,
    settings: &str,
) -> NodeSpec<'a> {
    let config = format!(
        "[service]\nlisten = \"0.0.0.0:{ISSUER_PORT}\"\n[health]\nlisten = \"127.0.0.1:8080\"\n\
         [issuer]\ntrust_domain = \"{trust_domain}\"\ndata_dir = \"/var/lib/avouch/issuer\"\n\
         admin_socket = \"/run/avouch/admin/admin.sock\"\n{settings}\n"
    );
    world
        .node(name, "issuer")
        .file("issuer.toml", config)
        .env("AVOUCH_CONFIG", "/etc/avouch/issuer.toml")
        .env("RUST_LOG", LOG)
        .env("AVOUCH_ADMIN_SOCKET", "/run/avouch/admin/admin.sock")
}

fn load_article() -> String {
    format!("\n[[article]]\nsku = \"LOAD-0001\"\non_hand = {LOAD_STOCK}\n")
}

/// Whom a service calls.
pub(crate) fn upstreams(name: &str) -> &'static [&'static str] {
    UPSTREAMS.iter().find(|(service, _)| *service == name).map_or(&[], |(_, of)| of)
}

/// `host:port` of a service.
pub(crate) fn address(service: &Node) -> String {
    format!("{}:{PORT}", service.host())
}

/// How a service is addressed.
pub(crate) fn url(service: &Node) -> String {
    format!("https://{}", address(service))
}

/// A join token for this identity, registered if it is not yet.
pub(crate) async fn token(issuer: &Node, id: &str) -> Outcome<String> {
    let known = issuer.exec(&["/usr/bin/avouch", "entry", "show", id]).await?;
    if known.status != 0 {
        issuer.exec(&["/usr/bin/avouch", "entry", "add", id]).await?.success("adding an entry")?;
    }
    let created = issuer.exec(&["/usr/bin/avouch", "token", "create", id]).await?;
    Ok(created.success("creating a token")?.trim().to_owned())
}

/// The record of a process that serves.
pub(crate) fn ready(record: &Value) -> bool {
    record["message"] == "serving"
}
