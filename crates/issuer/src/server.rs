//! The issuer as a whole: its state, its own identity, its two services.
//!
//! [`Issuer::start`] runs every step that can fail before the first request is served; [`Issuer::serve_workloads`] and
//! [`Issuer::serve_admin`] run until they are told to drain.

use crate::acknowledgements::{self, WorkloadProcess};
use crate::admin_socket::BindError;
use crate::attest::JoinTokenAttestor;
use crate::audit::Refusals;
use crate::authorities::{self, Authorities, AuthoritiesError};
use crate::config::IssuerConfig;
use crate::crl::{self, Crls};
use crate::entries::{EntryError, EntryRules};
use crate::grpc::{AdminService, IssuerService};
use crate::issuance::Issuance;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::profiles::{self, ProfilesError};
use crate::self_issue::{self, SelfIssueError};
use crate::status::{Process, StatusReporter};
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{Store, StoreError};
use crate::trust::{ProofKeyError, Proofs, Trust};
use crate::{admin, admin_socket, maintenance};
use avouch_api::issuer::v1::issuer_server::IssuerServer;
use avouch_authz::layer::{AuthzLayer, DecisionIds, DecisionObserver};
use avouch_authz::{ContractError, Methods, Policy, PolicyHandle};
use avouch_files::{PrivateDir, PrivateDirError, examine_private_dir};
use avouch_identity::{
    ConnectionObserver, Drained, Identity, IdentityFilter, Publisher, RECOVERY_BINDING, Server, ServerError,
    Snapshot,
};
use avouch_issuance::{Profiles, SystemEntropy};
use avouch_records::Recorder;
use avouch_spiffe::{Generation, SpiffeId};
use avouch_text::with_causes;
use avouch_time::clock::SharedClock;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tower::Layer;

/// The largest request that is accepted. A request holds at most a CSR and a chain, which are far smaller.
const MAX_REQUEST: usize = 64 * 1024;
/// The lock file that keeps a second issuer from using the same data directory.
const LOCK: &str = "issuer.lock";

/// A failure to start an issuer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory cannot be used")]
    DataDir(#[from] PrivateDirError),
    /// The certificate profiles cannot be used.
    #[error("the certificate profiles cannot be used")]
    Profiles(#[from] ProfilesError),
    /// The root or the signing authority cannot be loaded or created.
    #[error("there are no authorities to issue with")]
    Authorities(#[from] AuthoritiesError),
    /// The key of the revocations cannot be loaded or created.
    #[error("there are no proofs of revocations")]
    Proofs(#[from] ProofKeyError),
    /// The store's file cannot be opened.
    #[error("the store cannot be opened")]
    Open(#[from] OpenError),
    /// The store cannot answer.
    #[error("the store cannot answer")]
    Store(#[from] StoreError),
    /// The profile does not allow the configured `issuer.svid_ttl`.
    #[error("issuer.svid_ttl cannot be used")]
    SvidTtl(#[source] EntryError),
    /// The issuer's own certificate cannot be issued.
    #[error("the issuer has no certificate for itself")]
    Own(#[from] SelfIssueError),
    /// The contract of the API is inconsistent.
    #[error("the API's contract is inconsistent")]
    Contract(#[from] ContractError),
    /// The administration socket cannot be opened.
    #[error("the administration socket cannot be opened")]
    AdminSocket(#[from] BindError),
    /// The metrics cannot be registered.
    #[error("the issuer's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// A running issuer. Clones share everything; its maintenance ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Issuer {
    inner: Arc<Inner>,
    status: Arc<StatusReporter>,
    refusals: Arc<Refusals>,
}

#[derive(Debug)]
struct Inner {
    issuance: Arc<Issuance>,
    limits: Arc<Limits>,
    rules: EntryRules,
    id: SpiffeId,
    identity: Identity,
    policy: PolicyHandle,
    decisions: DecisionIds,
    crls: Arc<Crls>,
    admin_socket: PathBuf,
    _maintenance: [AbortOnDropHandle<()>; 5],
}

impl Issuer {
    /// Refuses a configuration that [`Issuer::start`] would refuse for its values, or for the files and directories
    /// that it names. Starts, creates and changes nothing, and reads no key.
    pub fn check(config: &IssuerConfig) -> Result<(), StartError> {
        Self::rules(config)?;
        examine_private_dir(&config.data_dir)?;
        authorities::examine(&config.data_dir, &config.trust_domain)?;
        Ok(admin_socket::examine(&config.admin_socket)?)
    }

    /// The profiles, the rules of entries, and the life of an SVID whose entry names none.
    fn rules(config: &IssuerConfig) -> Result<(Profiles, EntryRules, Duration), StartError> {
        let profiles = profiles::load(config.profiles.as_deref())?;
        let rules = EntryRules {
            trust_domain: config.trust_domain.clone(),
            profile: profiles.svid.clone(),
            retention: config.retention,
        };
        let svid_ttl = config.svid_ttl.unwrap_or(profiles.svid.default_lifetime());
        rules.check_ttl("a certificate's life", svid_ttl).map_err(StartError::SvidTtl)?;
        Ok((profiles, rules, svid_ttl))
    }

    /// Opens the data directory, the authorities and the store, and issues the issuer's own certificate.
    pub async fn start(config: &IssuerConfig, clock: SharedClock) -> Result<Self, StartError> {
        let (profiles, rules, svid_ttl) = Self::rules(config)?;
        let dir = Arc::new(PrivateDir::open(&config.data_dir, LOCK)?);
        let store_path = dir.file("store.db");
        let in_use = store_path.exists();
        let entropy = Arc::new(SystemEntropy);
        let now = clock.now();
        let proofs = Proofs::open(&dir)?;
        let authorities = Authorities::open(dir, &config.trust_domain, profiles, entropy, now, in_use)?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&store_path)?);
        store.record_startup(now).await?;
        let roots = vec![authorities.root().clone()];
        let metrics = Metrics::new()?;
        let trust = Trust::start(
            Arc::clone(&store),
            proofs,
            &config.trust_domain,
            roots,
            Arc::clone(&clock),
            metrics.trust.clone(),
        )
        .await?;
        metrics.authorities(&authorities);
        let issuance = Arc::new(Issuance {
            authorities,
            attestor: Arc::new(JoinTokenAttestor::new(Arc::clone(&store))),
            store,
            trust,
            clock,
            metrics,
            svid_ttl,
            recovery_window: config.recovery_window,
        });
        Self::assemble(config, issuance, rules).await
    }

    async fn assemble(
        config: &IssuerConfig,
        issuance: Arc<Issuance>,
        rules: EntryRules,
    ) -> Result<Self, StartError> {
        let id = config.trust_domain.issuer_id();
        let svid = self_issue::issue(&issuance, &id).await?;
        let first = Snapshot::new(svid, issuance.trust.state());
        let (publisher, identity) = Identity::publisher_with_clock(first, Arc::clone(&issuance.clock));
        let publisher: Arc<Publisher> = Arc::new(publisher);
        issuance.trust.enforce_by(Arc::clone(&publisher));
        let methods = Methods::new(&[&avouch_api::CONTRACT])?;
        let spawn = |task: tokio::task::JoinHandle<()>| AbortOnDropHandle::new(task);
        let crls = Arc::new(Crls::new());
        let maintenance = [
            spawn(tokio::spawn(crl::run(Arc::clone(&crls), Arc::clone(&issuance)))),
            spawn(tokio::spawn(maintenance::renew_own(Arc::clone(&issuance), id.clone(), publisher))),
            spawn(tokio::spawn(maintenance::renew_signing(Arc::clone(&issuance)))),
            spawn(tokio::spawn(maintenance::publish_ended(Arc::clone(&issuance)))),
            spawn(tokio::spawn(maintenance::prune(Arc::clone(&issuance), config.retention))),
        ];
        let (data_dir, started_at) = (config.data_dir.clone(), issuance.clock.now());
        Ok(Self {
            status: Arc::new(StatusReporter::new(identity.clone(), data_dir, started_at)),
            refusals: Arc::default(),
            inner: Arc::new(Inner {
                limits: Arc::new(Limits::new(&config.rate_limits)),
                policy: PolicyHandle::fixed(Policy::without_roles(&methods)),
                decisions: DecisionIds::random(),
                crls,
                admin_socket: config.admin_socket.clone(),
                issuance,
                rules,
                id,
                identity,
                _maintenance: maintenance,
            }),
        })
    }

    /// The issuer's own identity; it renews itself.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The issuer's SPIFFE ID.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.inner.id
    }

    /// The bundle it publishes.
    pub fn trust(&self) -> &Trust {
        &self.inner.issuance.trust
    }

    /// Who does not use this generation of the trust state, or has not said so: the question of every gate.
    pub async fn lagging(&self, generation: Generation) -> Result<Vec<WorkloadProcess>, StoreError> {
        acknowledgements::lagging(&self.inner.issuance, generation).await
    }

    /// Its records.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.issuance.store
    }

    /// Shows the issuer's own series beside those of every process.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), StartError> {
        Ok(self.inner.issuance.metrics.register(registry)?)
    }

    /// The authorization policy of the issuer's API: no RPC requires a role, so there is no policy file.
    pub fn policy(&self) -> &PolicyHandle {
        &self.inner.policy
    }

    /// Sets the process whose status the administrator can query. It comes after [`Issuer::start`], since a process is
    /// made with the issuer's identity, and before any request is served.
    #[must_use]
    pub fn with_process(mut self, process: Arc<dyn Process>) -> Self {
        Arc::make_mut(&mut self.status).process = Some(process);
        self
    }

    /// Adds the issuer's refusals to the records of the process it runs in.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.refusals = Arc::new(Refusals::recorded_by(recorder));
        self
    }

    /// Sets the addresses (`host:port`) at which workloads reach the issuer, where they differ from its listen address.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Vec<String>) -> Self {
        Arc::make_mut(&mut self.status).advertised = addresses;
        self
    }

    /// The workloads' service. It expects [`Issuer::authz`] around it and [`Issuer::configure`] of the server before it.
    /// Trust streams end, cleanly, when `drain` is cancelled.
    pub fn workload_routes(&self, drain: CancellationToken) -> Routes {
        let service = IssuerService {
            issuance: Arc::clone(&self.inner.issuance),
            limits: Arc::clone(&self.inner.limits),
            decisions: self.inner.decisions.clone(),
            refusals: Arc::clone(&self.refusals),
            drain,
        };
        Routes::new(IssuerServer::new(service).max_decoding_message_size(MAX_REQUEST))
    }

    pub(crate) fn admin_service(&self, drain: CancellationToken) -> AdminService {
        AdminService {
            issuance: Arc::clone(&self.inner.issuance),
            rules: self.inner.rules.clone(),
            issuer_id: self.inner.id.clone(),
            status: Arc::clone(&self.status),
            crls: Arc::clone(&self.inner.crls),
            drain,
        }
    }

    /// The layer that enforces the API's rules.
    pub fn authz(&self, observer: Arc<dyn DecisionObserver>) -> AuthzLayer {
        let trust_domain = self.inner.id.trust_domain().clone();
        AuthzLayer::new(self.inner.policy.clone(), trust_domain, observer)
            .decision_ids(self.inner.decisions.clone())
            .network(avouch_identity::network_of)
    }

    /// What the workloads' listener needs beyond that of other services: a client certificate is optional (but must be
    /// valid if it is there), and keying material is exported for recovery.
    pub fn configure(&self, server: Server) -> Server {
        server
            .optional_client_certificate()
            .channel_binding(RECOVERY_BINDING)
            .observer(Arc::new(SeenObserver::new(self.store(), &self.inner.issuance.clock)))
    }

    /// Serves workloads until `shutdown`, then ends trust streams and lets calls finish. Without telemetry, health and
    /// reflection, which the program `avouch-issuer` adds.
    pub async fn serve_workloads(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<Drained, ServerError> {
        if let Ok(address) = listener.local_addr() {
            let _ = self.status.listen.set(address);
        }
        let service = self.authz(Arc::new(())).layer(self.workload_routes(shutdown.clone()));
        let filter = IdentityFilter::trust_domain(self.inner.id.trust_domain().clone());
        let server = self.configure(Server::new(self.inner.identity.clone(), filter));
        server.serve(listener, service, shutdown.cancelled_owned()).await
    }

    /// Opens the administration socket.
    pub async fn bind_admin(&self) -> Result<UnixListener, StartError> {
        Ok(crate::admin_socket::bind(&self.inner.admin_socket).await?)
    }

    /// Serves the administrator until `shutdown`, and removes the socket.
    pub async fn serve_admin(
        &self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (authz, drain) = (self.authz(Arc::new(())), CancellationToken::new());
        let service = self.admin_service(drain.clone());
        // Streams end with the shutdown, which otherwise waits for them.
        let shutdown = async move {
            shutdown.await;
            drain.cancel();
        };
        let served = admin::serve(service, authz, listener, shutdown).await;
        let _ = std::fs::remove_file(&self.inner.admin_socket); // gone already is as good
        served
    }
}

/// Notes in the inventory that a certificate was presented.
#[derive(Debug)]
struct SeenObserver {
    seen: tokio::sync::mpsc::Sender<(String, SystemTime)>,
    clock: SharedClock,
}

impl SeenObserver {
    fn new(store: &Arc<dyn Store>, clock: &SharedClock) -> Self {
        let (seen, mut queue) = tokio::sync::mpsc::channel::<(String, SystemTime)>(1024);
        let store = Arc::clone(store);
        tokio::spawn(async move {
            while let Some((serial, at)) = queue.recv().await {
                if let Err(error) = store.seen(&serial, at).await {
                    tracing::debug!(error = %with_causes(&error), "a sighting is not recorded");
                }
            }
        });
        Self { seen, clock: Arc::clone(clock) }
    }
}

impl ConnectionObserver for SeenObserver {
    /// Called on the connection's task: queues the sighting without blocking, and drops it when the queue is full.
    fn connection(&self, record: &avouch_identity::ConnectionRecord) {
        if let (avouch_identity::Verdict::Accepted, Some(serial)) = (record.verdict, &record.peer_serial) {
            let _ = self.seen.try_send((serial.clone(), self.clock.now()));
        }
    }
}
