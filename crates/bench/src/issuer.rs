//! The shipped `avouch-issuer`: started with a data directory of its own, and administered over its socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_api::admin::v1::{CreateEntryRequest, CreateTokenRequest, Entry};
use avouch_fleet::{AdminClient, AdminSocket};
use avouch_spiffe::SpiffeId;
use avouch_testkit::ca::DOMAIN;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::program;

/// The longest time until the administration answers for the first time.
const ANSWERS: Duration = Duration::from_secs(30);

/// Administration calls under way at the same time: enough that commits are shared.
const IN_FLIGHT: usize = 256;

/// Settings for an issuer that one network may ask as often as it can: all workloads of a run come from this machine.
pub const WITHOUT_RATE_LIMITS: [&str; 4] = [
    "issuer.rate_limits.unauthenticated_per_second=1000000",
    "issuer.rate_limits.unauthenticated_burst=1000000",
    "issuer.rate_limits.authenticated_per_second=1000000",
    "issuer.rate_limits.authenticated_burst=1000000",
];

/// A running issuer and its administrator.
#[derive(Debug)]
pub struct Issuer {
    /// The process.
    pub child: Child,
    /// Where workloads reach it.
    pub address: SocketAddr,
    /// Its plain health port.
    pub health: SocketAddr,
    admin: Admin,
    // Holds the directory of the socket, whose path ends near 108 bytes.
    _runtime_dir: tempfile::TempDir,
}

/// How an issuer is started.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The process's name in messages, and that of its log.
    pub name: &'a str,
    /// The data directory: an issuer's that ran before, or one that is not there yet.
    pub data: &'a Path,
    /// What differs from the defaults: `section.key=value`.
    pub settings: &'a [&'a str],
    /// The core that it may use; all if there is none.
    pub core: Option<usize>,
}

impl Issuer {
    /// Starts the issuer of a build, and waits until its administration answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, build: &Build, start: &Start<'_>) -> Result<Self, Error> {
        let runtime_dir = tempfile::Builder::new().prefix("avb").tempdir();
        let runtime_dir = runtime_dir.map_err(Error::system("make a directory for the socket"))?;
        // The issuer makes the socket's directory, which nobody else may enter.
        let socket = runtime_dir.path().join("run/admin.sock");
        let mut settings = vec![
            format!("issuer.trust_domain={DOMAIN}"),
            program::set("issuer.data_dir", start.data),
            program::set("issuer.admin_socket", &socket),
        ];
        settings.extend(start.settings.iter().map(|&setting| setting.to_owned()));
        let mut launch = Launch::new(start.name, build.program("avouch-issuer"));
        launch.core = start.core;
        let dir = bench.dir.join("issuers").join(start.name.replace(['/', ' '], "-"));
        let (child, addresses) = program::start(launch, &dir, &settings, &bench.dir)?;
        let admin = Admin::connect(socket)?;
        let program::Addresses { grpc: address, health } = addresses;
        Ok(Self { child, address, health, admin, _runtime_dir: runtime_dir })
    }

    /// Its administrator.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(self) -> Result<(), Error> {
        let Self { child, admin, .. } = self;
        drop(admin);
        child.end()
    }
}

/// The administration of an issuer.
#[derive(Debug)]
pub struct Admin {
    runtime: Runtime,
    client: AdminClient,
}

impl Admin {
    fn connect(socket: PathBuf) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::system("start a runtime"))?;
        let connected = runtime.block_on(AdminSocket::new(Some(socket)).connect_within(ANSWERS));
        let client = connected.map_err(|error| Error::other(avouch_text::with_causes(&error).to_string()))?;
        Ok(Self { runtime, client })
    }

    /// Makes a call of the administration.
    ///
    /// # Errors
    /// What the issuer says.
    pub fn call<T>(
        &self,
        call: impl AsyncFnOnce(AdminClient) -> Result<T, tonic::Status>,
    ) -> Result<T, Error> {
        self.runtime.block_on(call(self.client.clone())).map_err(refused)
    }

    /// Registers identities.
    ///
    /// # Errors
    /// What the issuer says.
    pub fn register(&self, ids: impl IntoIterator<Item = SpiffeId>) -> Result<(), Error> {
        self.for_each(ids, |mut client, id| async move {
            let entry = Entry { spiffe_id: id.to_string(), ..Entry::default() };
            client.create_entry(CreateEntryRequest { entry: Some(entry) }).await.map(drop)
        })?;
        Ok(())
    }

    /// Makes a join token for each of these registered identities, in their order.
    ///
    /// # Errors
    /// What the issuer says.
    pub fn tokens(&self, ids: impl IntoIterator<Item = SpiffeId>) -> Result<Vec<String>, Error> {
        self.for_each(ids, |mut client, id| async move {
            let request = CreateTokenRequest { spiffe_id: id.to_string(), ttl: None };
            Ok(client.create_token(request).await?.into_inner().token)
        })
    }

    /// Makes a call for each of `ids`, many at a time; the answers have the order of the identities.
    fn for_each<T, F>(
        &self,
        ids: impl IntoIterator<Item = SpiffeId>,
        call: impl Fn(AdminClient, SpiffeId) -> F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tonic::Status>> + Send + 'static,
    {
        self.runtime.block_on(async {
            let (mut answers, mut calls) = (Vec::new(), JoinSet::new());
            let mut ids = ids.into_iter().enumerate();
            loop {
                while calls.len() < IN_FLIGHT
                    && let Some((at, id)) = ids.next()
                {
                    let call = call(self.client.clone(), id);
                    calls.spawn(async move { call.await.map(|answer| (at, answer)) });
                }
                let Some(answer) = calls.join_next().await else { break };
                answers.push(answer.map_err(|error| Error::other(error.to_string()))?.map_err(refused)?);
            }
            answers.sort_unstable_by_key(|(at, _)| *at);
            Ok(answers.into_iter().map(|(_, answer)| answer).collect())
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(status: tonic::Status) -> Error {
    Error::other(format!("the issuer's administration: {:?}: {}", status.code(), status.message()))
}
