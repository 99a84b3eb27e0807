//! What each process is told on top of its configuration file: the environment of one run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::{Address, DRAIN, Market, PAYMENTS_CONNECTIONS};
use crate::paths::{SERVICES, upstreams};

impl Market {
    pub(super) fn issuer_env(&self) -> BTreeMap<String, OsString> {
        let mut env = self.common_env("issuer");
        let dir = self.paths.of_process("issuer");
        env.extend(settings([
            ("AVOUCH_ISSUER__TRUST_DOMAIN", crate::paths::TRUST_DOMAIN.into()),
            ("AVOUCH_ISSUER__DATA_DIR", dir.join("data").into()),
            ("AVOUCH_ISSUER__ADMIN_SOCKET", self.paths.socket().into()),
            ("AVOUCH_ISSUER__PROFILES", self.paths.root_of("issuer").join("certs").into()),
        ]));
        env
    }

    pub(super) fn service_env(&self, name: &str) -> BTreeMap<String, OsString> {
        let mut env = self.common_env(name);
        let dir = self.paths.of_process(name);
        let issuer = self.address("issuer").map(|address| address.grpc.to_string()).unwrap_or_default();
        env.extend(settings([
            ("AVOUCH_IDENTITY__SOURCE", "issuer".into()),
            ("AVOUCH_IDENTITY__ADDRESS", issuer.into()),
            ("AVOUCH_IDENTITY__JOIN_TOKEN_FILE", self.paths.token(name).into()),
            ("AVOUCH_IDENTITY__STATE_DIR", self.paths.state(name).into()),
            ("AVOUCH_AUTHZ__POLICY", self.paths.policy(name).into()),
        ]));
        if name != "storefront" && SERVICES.contains(&name) {
            env.insert(key(name, "DATABASE"), dir.join(format!("{name}.db")).into());
        }
        for upstream in upstreams(name) {
            let url =
                self.address(upstream).map(|address| format!("https://{}", address.grpc)).unwrap_or_default();
            env.insert(format!("AVOUCH_UPSTREAMS__{}__URL", upstream.to_uppercase()), url.into());
        }
        match name {
            "payments" => {
                let room = PAYMENTS_CONNECTIONS.to_string();
                env.insert("AVOUCH_SERVICE__LIMITS__MAX_CONNECTIONS".to_owned(), room.into());
            }
            "inventory" => {
                env.insert(key(name, "STOCK"), self.paths.shipped("stock.toml").into());
            }
            "storefront" => {
                let ingress = format!("127.0.0.1:{}", self.options.ingress_port);
                env.insert(key(name, "INGRESS_LISTEN"), ingress.into());
                env.insert(key(name, "INGRESS_ADDRESS_FILE"), dir.join("ingress").into());
                env.insert(key(name, "RESULT_FILE"), dir.join("result.json").into());
                env.insert(key(name, "ORDERS_FILE"), self.paths.shipped("orders.jsonl").into());
                env.extend(self.options.storefront.clone());
            }
            _ => {}
        }
        env
    }

    fn common_env(&self, name: &str) -> BTreeMap<String, OsString> {
        let mut env = settings([
            ("AVOUCH_SERVICE__LISTEN", "127.0.0.1:0".into()),
            ("AVOUCH_SERVICE__ADDRESS_FILE", self.paths.address_file(name).into()),
            ("AVOUCH_SERVICE__DRAIN_TIMEOUT", format!("{}s", DRAIN.as_secs()).into()),
            ("AVOUCH_HEALTH__LISTEN", "127.0.0.1:0".into()),
            // Connections that were accepted are told at the debug level; the report shows what they negotiated.
            ("RUST_LOG", "info,avouch_identity::record=debug".into()),
            ("AVOUCH_TELEMETRY__LOG_FORMAT", "json".into()),
            ("OTEL_SERVICE_NAME", name.into()),
            ("NO_COLOR", "1".into()),
        ]);
        if let Some(otlp) = &self.options.otlp {
            env.insert("OTEL_EXPORTER_OTLP_ENDPOINT".into(), otlp.into());
            env.insert("OTEL_TRACES_SAMPLER".into(), "parentbased_always_on".into());
            // Spans are exported after 500 ms, since the report is drawn soon after the last call.
            env.insert("OTEL_BSP_SCHEDULE_DELAY".into(), "500".into());
        }
        env
    }
}

/// What a later life of the storefront is given: the ingress it had, and an empty stream in the place of the first; what
/// came of that is kept.
pub(super) fn front_again(ingress: SocketAddr, dir: &Path) -> BTreeMap<String, OsString> {
    settings([
        ("AVOUCH_STOREFRONT__INGRESS_LISTEN", ingress.to_string().into()),
        ("AVOUCH_STOREFRONT__ORDERS_FILE", "/dev/null".into()),
        ("AVOUCH_STOREFRONT__RESULT_FILE", dir.join("result-again.json").into()),
    ])
}

/// What pins a process to the addresses it had.
pub(super) fn listens(address: Address) -> [(String, String); 2] {
    [
        ("AVOUCH_SERVICE__LISTEN".to_owned(), address.grpc.to_string()),
        ("AVOUCH_HEALTH__LISTEN".to_owned(), address.health.to_string()),
    ]
}

fn key(name: &str, key: &str) -> String {
    format!("AVOUCH_{}__{key}", name.to_uppercase())
}

fn settings<const N: usize>(pairs: [(&str, OsString); N]) -> BTreeMap<String, OsString> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
