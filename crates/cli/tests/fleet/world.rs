//! A trust domain in this process: a real issuer with its real socket, and workloads that are asked over real mutual
//! TLS, behind a real policy. Only what a workload says of itself is made up, so that tests know it.

use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::admin::v1::{CreateEntryRequest, CreateTokenRequest, Entry};
use avouch_api::observe::v1::observe_server::{Observe, ObserveServer};
use avouch_api::observe::v1::*;
use avouch_authz::layer::AuthzLayer;
use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::{Identity, IdentityConfig, IdentityFilter, IssuerConfig, Server};
use avouch_issuer::Issuer;
use avouch_issuer::config::{IssuerConfig as Config, RateLimitSettings};
use avouch_testkit::program::alone;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status as Refusal};
use tower::Layer;

pub(crate) const OPERATOR: &str = "spiffe://market.example/operator";

pub(crate) fn id(path: &str) -> String {
    format!("spiffe://market.example/{path}")
}

pub(crate) use avouch_testkit::wait::eventually;

pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) issuer_address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::listening("127.0.0.1:0").await
    }

    /// With an issuer that workloads reach at another address than the loopback one.
    pub(crate) async fn listening(at: &str) -> Self {
        let temp = tempfile::Builder::new().prefix("avf").tempdir().unwrap();
        let socket = temp.path().join("run/admin.sock");
        let config = Config {
            trust_domain: "market.example".parse().unwrap(),
            data_dir: temp.path().join("data"),
            admin_socket: socket.clone(),
            profiles: None,
            svid_ttl: None,
            recovery_window: Duration::from_secs(3_600),
            retention: Duration::from_secs(86_400),
            rate_limits: RateLimitSettings::default(),
        };
        let issuer = Issuer::start(&config, avouch_time::clock::system()).await.unwrap();
        let listener = TcpListener::bind(at).await.unwrap();
        let issuer_address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let admin = issuer.bind_admin().await.unwrap();
        let stop = CancellationToken::new();
        let (serving, stopping) = (issuer.clone(), stop.clone());
        tokio::spawn(async move { serving.serve_workloads(listener, stopping).await });
        let (serving, stopping) = (issuer, stop.clone());
        tokio::spawn(async move { serving.serve_admin(admin, stopping.cancelled_owned()).await });
        Self { temp, socket, issuer_address, stop }
    }

    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        AdminClient::new(endpoint.connect_with_connector(connector).await.unwrap())
    }

    pub(crate) async fn register(&self, path: &str) {
        let entry = Entry { spiffe_id: id(path), ..Entry::default() };
        self.admin().await.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
    }

    /// An identity of a registered workload, which tells the issuer these addresses.
    pub(crate) async fn identity(
        &self,
        path: &str,
        addresses: &[String],
        state: Option<PathBuf>,
    ) -> Identity {
        let request = CreateTokenRequest { spiffe_id: id(path), ttl: None };
        let token = self.admin().await.create_token(request).await.unwrap().into_inner().token;
        let config = IdentityConfig::Issuer(IssuerConfig {
            address: self.issuer_address.to_string(),
            join_token_file: None,
            state_dir: state,
            addresses: addresses.to_vec(),
            timeout: Duration::from_secs(5),
        });
        Identity::starter(config).join_token(token.parse().unwrap()).start().await.unwrap()
    }

    /// Waits until the issuer lists so many workloads with an address.
    pub(crate) async fn listed(&self, count: usize) {
        eventually("the acknowledgements", async || {
            let request = avouch_api::admin::v1::ListWorkloadsRequest::default();
            let found = self.admin().await.list_workloads(request).await.unwrap().into_inner().workloads;
            (found.iter().filter(|workload| !workload.addresses.is_empty()).count() == count).then_some(())
        })
        .await;
    }

    /// Runs `avouch` on the issuer's machine.
    pub(crate) async fn avouch(&self, words: &[&str]) -> Output {
        let command = self.command(words);
        run(command).await
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = elsewhere(self.temp.path(), words);
        command.env("AVOUCH_ADMIN_SOCKET", &self.socket);
        command
    }
}

/// `avouch` where there is no issuer.
pub(crate) fn elsewhere(directory: &Path, words: &[&str]) -> Command {
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), directory);
    command.current_dir(directory).args(words);
    command
}

pub(crate) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// What a workload says when it is asked.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) name: &'static str,
    pub(crate) edges: Vec<Edge>,
    pub(crate) records: Vec<Record>,
    pub(crate) live: broadcast::Sender<WatchRecordsResponse>,
}

impl Says {
    pub(crate) fn nothing(name: &'static str) -> Self {
        Self { name, edges: Vec::new(), records: Vec::new(), live: broadcast::Sender::new(64) }
    }
}

#[tonic::async_trait]
impl Observe for Says {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Refusal> {
        let status = Status {
            service: self.name.to_owned(),
            spiffe_id: id(self.name),
            phase: "serving".to_owned(),
            ..Status::default()
        };
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }

    async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Refusal> {
        Ok(Response::new(GetPolicyResponse::default()))
    }

    async fn list_edges(&self, _: Request<ListEdgesRequest>) -> Result<Response<ListEdgesResponse>, Refusal> {
        Ok(Response::new(ListEdgesResponse { edges: self.edges.clone() }))
    }

    async fn list_records(
        &self,
        _: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Refusal> {
        Ok(Response::new(ListRecordsResponse { records: self.records.clone() }))
    }

    type WatchRecordsStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<WatchRecordsResponse, Refusal>> + Send>>;

    async fn watch_records(
        &self,
        _: Request<WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchRecordsStream>, Refusal> {
        let live = BroadcastStream::new(self.live.subscribe());
        Ok(Response::new(Box::pin(live.map(|message| message.map_err(|_| Refusal::aborted("too slow"))))))
    }
}

pub(crate) const FOR_OPERATORS: &str = "[roles]\noperator = [\"spiffe://market.example/operator\"]\n";

/// A workload that serves what it says, until it is dropped.
pub(crate) struct Workload {
    pub(crate) address: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Workload {
    /// Registers it, lets it join and serve at an address of the system's choice, which it tells the issuer.
    pub(crate) async fn start(world: &World, says: Says, policy: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.register(says.name).await;
        let advertised = listener.local_addr().unwrap().to_string();
        let identity = world.identity(says.name, &[advertised], None).await;
        Self::serve(identity, listener, says, policy)
    }

    pub(crate) fn serve(identity: Identity, listener: TcpListener, says: Says, policy: &str) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let methods = Methods::new(&[&avouch_api::CONTRACT]).unwrap();
        let policy = PolicyHandle::fixed(Policy::load("policy.toml", policy, &methods).unwrap());
        let domain = identity.spiffe_id().trust_domain().clone();
        let routes = tonic::service::Routes::new(ObserveServer::new(says)).prepare();
        let service = AuthzLayer::new(policy, domain.clone(), Arc::new(())).layer(routes);
        let server = Server::new(identity, IdentityFilter::trust_domain(domain));
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let serving = tokio::spawn(async move {
            server.serve(listener, service, stopping.cancelled_owned()).await.unwrap();
        });
        Self { address, stop, serving }
    }

    /// Ends it, and waits until its address is free.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}
