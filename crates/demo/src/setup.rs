//! Sets the market up: the issuer, its entries and join tokens, then every service after those it calls.
//!
//! Nothing is shared beforehand but the code: each run makes its own root, and each process enrols with a token of
//! its own that works once. Tokens are handed over in files of their process's private directory.

mod environment;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_api::admin::v1::Entry;
use avouch_attacker::leaks::Secrets;
use avouch_files::{create_private_dir, write_secret};
use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use avouch_text::with_causes;
use avouch_time::clock::{self, SharedClock};
use serde::Deserialize;

use crate::admin::Admin;
use crate::http;
use crate::paths::{Paths, SERVICES, id};
use crate::processes::{PidFile, Process, Spec, is_alive};
use crate::wait;

/// How long a process may take to be ready, on a machine that is busy.
const READY: Duration = Duration::from_secs(20);

/// Connections that `payments` has room for: few enough for an attacker to take them all within a moment, and many more
/// than the market needs.
pub const PAYMENTS_CONNECTIONS: usize = 64;

/// How long a process has for its open calls when it is told to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

/// The life of the demo's certificates.
pub const SVID_LIFE: Duration = Duration::from_secs(20);

/// The life of the one in `certs/dev`, which people paste commands for.
pub const DEV_LIFE: Duration = Duration::from_secs(3600);

/// Why the demo can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The system refused.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error(transparent)]
    TooLate(#[from] wait::TooLate),
    /// A process ended by itself.
    #[error("{0}")]
    Ended(String),
    /// The issuer refused.
    #[error("the issuer does not {action}: {status}")]
    Issuer {
        /// What was asked for.
        action: String,
        /// Its answer.
        status: Box<tonic::Status>,
    },
    /// An identity of the demo's own.
    #[error("no identity for {name}: {source}")]
    Identity {
        /// The name of the identity.
        name: String,
        /// Why not.
        source: Box<avouch_identity::IdentityError>,
    },
    /// Somebody asked the demo to stop.
    #[error("stopped by {0}; everything that was started has been ended")]
    Stopped(&'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> SetupError {
    let action = action.into();
    move |source| SetupError::System { action, source }
}

/// Where a process listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Mutual TLS.
    pub grpc: SocketAddr,
    /// Plain health and metrics.
    pub health: SocketAddr,
    /// Which life of the process wrote this.
    pub pid: u32,
}

/// How the market is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the processes send their spans.
    pub otlp: Option<String>,
    /// The port of the storefront's ingress; 0 for any.
    pub ingress_port: u16,
    /// What the storefront is given beside its configuration.
    pub storefront: BTreeMap<String, OsString>,
    /// What single processes are given on top of all else, by name.
    pub each: BTreeMap<String, BTreeMap<String, OsString>>,
    /// The life of the services' certificates, if not [`SVID_LIFE`].
    pub svid_life: Option<Duration>,
    /// Whether the storefront reads its orders from the demo.
    pub feed: bool,
    /// The clock by which the demo's own identities judge certificates, if not the system's.
    pub clock: Option<SharedClock>,
}

/// A running market.
#[derive(Debug)]
pub struct Market {
    /// Where it is.
    pub paths: Paths,
    /// The issuer's administration.
    pub admin: Admin,
    /// What must not appear in any log.
    pub secrets: RefCell<Secrets>,
    options: Options,
    pids: PidFile,
    specs: RefCell<BTreeMap<String, Spec>>,
    running: RefCell<BTreeMap<String, Process>>,
    addresses: RefCell<BTreeMap<String, Address>>,
}

impl Market {
    /// Sweeps up, empties the directory and starts the issuer.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn start(paths: Paths, options: Options) -> Result<Self, SetupError> {
        let (pids, _swept) = PidFile::take(&paths.dir).map_err(system("use the demo's directory"))?;
        empty(&paths.dir, &PidFile::names()).map_err(system("empty the demo's directory"))?;
        sweep_runtime_dirs(&paths.runtime);
        private_dir(&paths.runtime).map_err(system("make the runtime directory"))?;
        let admin = Admin::new(paths.socket());
        let market = Self {
            paths,
            admin,
            secrets: RefCell::default(),
            options,
            pids,
            specs: RefCell::default(),
            running: RefCell::default(),
            addresses: RefCell::default(),
        };
        market.launch("issuer", market.issuer_env()).await?;
        market.admin_answers().await?;
        market.register_operator().await?;
        Ok(market)
    }

    /// Lets `avouch` ask the services as their operator.
    async fn register_operator(&self) -> Result<(), SetupError> {
        let entry = Entry { spiffe_id: id("operator"), ..Entry::default() };
        self.admin.register(entry).await.map_err(|status| SetupError::Issuer {
            action: "register the operator".to_owned(),
            status: Box::new(status),
        })
    }

    /// Waits until the issuer's administration answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn admin_answers(&self) -> Result<(), SetupError> {
        let answers = async || self.admin.answers().await.map_err(|status| status.to_string());
        Ok(wait::until("the issuer's administration answers", READY, answers).await?)
    }

    /// Starts a service and waits until it is ready. `env` comes on top.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn service(&self, name: &str, env: BTreeMap<String, OsString>) -> Result<(), SetupError> {
        let dns: &[String] = if name == "storefront" { &["localhost".to_owned()] } else { &[dns_name(name)] };
        self.admit(name, self.options.svid_life.unwrap_or(SVID_LIFE), dns).await?;
        let mut all = self.service_env(name);
        all.extend(env);
        self.launch(name, all).await
    }

    /// An identity of the demo's own, kept fresh in this process.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn identity(&self, name: &str, life: Duration) -> Result<Identity, SetupError> {
        self.admit(name, life, &[]).await?;
        self.own_identity(name, Some(self.paths.token(name))).await
    }

    /// An identity in this process of what lies in the state directory of that name, as somebody else has got it.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn stored_identity(&self, name: &str) -> Result<Identity, SetupError> {
        self.own_identity(name, None).await
    }

    /// The identity that may ask every process how it is.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn operator(&self) -> Result<Identity, SetupError> {
        self.hand_token("operator", self.admin.token(&id("operator")).await)?;
        self.own_identity("operator", Some(self.paths.token("operator"))).await
    }

    async fn own_identity(
        &self,
        name: &str,
        join_token_file: Option<PathBuf>,
    ) -> Result<Identity, SetupError> {
        let config = IdentityConfig::Issuer(IssuerConfig {
            address: self.address("issuer")?.grpc.to_string(),
            join_token_file,
            state_dir: Some(self.paths.state(name)),
            addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        });
        let failed = |source| SetupError::Identity { name: name.to_owned(), source: Box::new(source) };
        let clock = self.options.clock.clone().unwrap_or_else(clock::system);
        Identity::starter(config).clock(clock).start().await.map_err(failed)
    }

    /// Where a process listens.
    ///
    /// # Errors
    /// When it was never ready.
    pub fn address(&self, name: &str) -> Result<Address, SetupError> {
        let address = self.addresses.borrow().get(name).copied();
        address.ok_or_else(|| SetupError::Other(format!("{name} has no address yet")))
    }

    /// The metrics page of a process.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self, name: &str) -> Result<String, SetupError> {
        let address = self.address(name)?.health.to_string();
        let (_, page) = http::get(&address, "/metrics").await.map_err(SetupError::Other)?;
        Ok(page)
    }

    /// The port of the storefront's ingress.
    ///
    /// # Errors
    /// When it has not said so in time.
    pub async fn ingress(&self) -> Result<SocketAddr, SetupError> {
        let file = self.paths.of_process("storefront").join("ingress");
        let read = async || {
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| format!("the file says `{text}`"))
        };
        Ok(wait::until("the storefront's ingress listens", READY, read).await?)
    }

    /// Takes a running process out of supervision, to be killed.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<Process> {
        self.running.borrow_mut().remove(name)
    }

    /// Starts a process again that was taken out, where it was, and waits until it is ready.
    ///
    /// The stream of orders and the trace of the start belong to a process's first life alone.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn again(&self, name: &str) -> Result<(), SetupError> {
        let spec = self.specs.borrow().get(name).cloned();
        let mut spec = spec.ok_or_else(|| SetupError::Other(format!("{name} was never started")))?;
        let address = self.address(name)?;
        // It listens on the same addresses again, since other processes know them.
        for (key, at) in environment::listens(address) {
            spec.env.insert(key, at.into());
        }
        if name == "storefront" {
            let ingress = self.ingress().await?;
            spec.env.extend(environment::front_again(ingress, &self.paths.of_process(name)));
        }
        spec.env.remove("TRACEPARENT");
        spec.stdin = false;
        self.run(name, &spec).await
    }

    /// Fails with the name of a process that has ended unexpectedly.
    ///
    /// # Errors
    /// When one has.
    pub fn all_running(&self) -> Result<(), SetupError> {
        let mut running = self.running.borrow_mut();
        let ended = running.values_mut().find_map(Process::ended);
        ended.map_or(Ok(()), |ended| Err(SetupError::Ended(ended)))
    }

    /// The storefront's standard input.
    #[must_use]
    pub fn storefront_input(&self) -> Option<tokio::process::ChildStdin> {
        self.running.borrow_mut().get_mut("storefront").and_then(Process::stdin)
    }

    /// Notes the keys that lie on disk at this moment.
    pub fn note_keys(&self) {
        self.secrets.borrow_mut().keys_below(&self.paths.dir);
    }

    /// Ends everything in order, callers first; names those that did not end by themselves with success.
    pub async fn stop(&self) -> Vec<String> {
        let mut bad = Vec::new();
        let own = self.paths.own_services();
        let own = own.iter().map(String::as_str);
        for name in own.chain(SERVICES.iter().rev().copied()).chain(["issuer"]) {
            let Some(mut process) = self.take(name) else { continue };
            process.terminate();
            match process.ended_within(DRAIN + Duration::from_secs(5)).await {
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => bad.push(format!("{name} ({status})")),
                Ok(None) => bad.push(format!("{name} (had to be killed)")),
                Err(error) => bad.push(format!("{name} ({error})")),
            }
        }
        bad
    }

    async fn admit(&self, name: &str, life: Duration, dns_names: &[String]) -> Result<(), SetupError> {
        let entry = Entry {
            spiffe_id: id(name),
            svid_ttl: life.try_into().ok(),
            dns_names: dns_names.to_vec(),
            ..Entry::default()
        };
        self.hand_token(name, self.admin.admit(entry).await)
    }

    /// Puts a join token into the directory of whom it is for.
    fn hand_token(&self, name: &str, token: Result<String, tonic::Status>) -> Result<(), SetupError> {
        private_dir(&self.paths.of_process(name)).map_err(system(format!("make the directory of {name}")))?;
        let action = || format!("admit {name}");
        let token =
            token.map_err(|status| SetupError::Issuer { action: action(), status: Box::new(status) })?;
        self.secrets.borrow_mut().token(&token);
        write_secret(&self.paths.token(name), token.as_bytes())
            .map_err(system(format!("hand {name} its token")))
    }

    async fn launch(&self, name: &str, mut env: BTreeMap<String, OsString>) -> Result<(), SetupError> {
        env.extend(self.options.each.get(name).cloned().unwrap_or_default());
        private_dir(&self.paths.of_process(name)).map_err(system(format!("make the directory of {name}")))?;
        let spec = Spec {
            name: name.to_owned(),
            program: self.paths.binary(name),
            args: self
                .paths
                .configs(name)
                .into_iter()
                .flat_map(|file| ["--config".into(), file.into()])
                .collect(),
            env,
            log: self.paths.log(name),
            stdin: name == "storefront" && self.options.feed,
        };
        self.run(name, &spec).await
    }

    async fn run(&self, name: &str, spec: &Spec) -> Result<(), SetupError> {
        // The file of an earlier life must not be taken for this one's.
        let _ = std::fs::remove_file(self.paths.address_file(name));
        let process = Process::start(spec, &self.pids).map_err(system(format!("start {name}")))?;
        self.specs.borrow_mut().insert(name.to_owned(), spec.clone());
        self.running.borrow_mut().insert(name.to_owned(), process);
        let ready = async || {
            self.all_running()?;
            Ok(self.ready(name).await)
        };
        let address = wait::try_until::<_, SetupError>(&format!("{name} is ready"), READY, ready).await?;
        self.addresses.borrow_mut().insert(name.to_owned(), address);
        Ok(())
    }

    /// The addresses of a process that says it is ready.
    async fn ready(&self, name: &str) -> Result<Address, String> {
        let text = std::fs::read(self.paths.address_file(name)).map_err(|_| "no addresses yet".to_owned())?;
        let address: Address = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        match http::get(&address.health.to_string(), "/readyz").await? {
            (200, _) => Ok(address),
            (status, text) => Err(format!("/readyz: {status} {}", text.trim())),
        }
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.paths.runtime);
    }
}

/// A name that the certificate of a service carries beside its identity, for clients that know of no SPIFFE.
#[must_use]
pub fn dns_name(service: &str) -> String {
    format!("{service}.{}", crate::paths::TRUST_DOMAIN)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    create_private_dir(dir).map_err(|error| io::Error::other(with_causes(&error).to_string()))
}

/// Removes the runtime directories of demos that were killed. What can't be removed is somebody else's.
fn sweep_runtime_dirs(own: &Path) {
    let Some(entries) = own.parent().and_then(|parent| std::fs::read_dir(parent).ok()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(crate::paths::RUNTIME_PREFIX)?.parse().ok());
        if pid.is_some_and(|pid| !is_alive(pid)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes everything in a directory but what is named.
fn empty(dir: &Path, but: &[&str]) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if but.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::upstreams;

    #[test]
    fn a_directory_is_emptied_but_for_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("orders")).unwrap();
        for name in ["demo.lock", "report.html", "orders/log.jsonl"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        empty(dir.path(), &["demo.lock"]).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["demo.lock"]);
    }

    #[test]
    fn every_service_comes_after_those_it_calls() {
        for (at, service) in SERVICES.iter().enumerate() {
            for upstream in upstreams(service) {
                assert!(SERVICES[..at].contains(upstream), "{service} before {upstream}");
            }
        }
    }
}
