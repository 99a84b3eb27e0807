//! An issuer, put together: its state, its own identity, its two services.
//!
//! [`Issuer::start`] does everything that can fail before anybody is served; [`Issuer::serve_workloads`] and
//! [`Issuer::serve_admin`] run until they are told to drain.

use crate::about::{About, Process};
use crate::admin_socket::BindError;
use crate::attest::JoinTokenAttestor;
use crate::audit::Refusals;
use crate::authorities::{self, Authorities, AuthoritiesError};
use crate::config::IssuerConfig;
use crate::entries::{EntryError, EntryRules};
use crate::grpc::{AdminService, IssuerService};
use crate::issuing::Issuing;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::own::{self, OwnError, issuer_id};
use crate::profiles::{self, ProfilesError};
use crate::recovery::Nonces;
use crate::store::sqlite::{OpenError, SqliteStore};
use crate::store::{Store, StoreError};
use crate::trust::Trust;
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
use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::{BundleSet, SpiffeId, SpiffeIdError};
use avouch_text::with_causes;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tower::Layer;

/// Requests are a CSR and a chain at most; nothing honest comes near this.
const MAX_REQUEST: usize = 64 * 1024;
/// Keeps a second issuer off the same data.
const LOCK: &str = "issuer.lock";

/// Why an issuer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error("the data directory cannot be used")]
    DataDir(#[from] PrivateDirError),
    /// The certificate profiles.
    #[error("the certificate profiles cannot be used")]
    Profiles(#[from] ProfilesError),
    /// The keys.
    #[error("there are no authorities to issue with")]
    Authorities(#[from] AuthoritiesError),
    /// The store's file.
    #[error("the store cannot be opened")]
    Open(#[from] OpenError),
    /// The store.
    #[error("the store cannot answer")]
    Store(#[from] StoreError),
    /// A default that the profile does not allow.
    #[error("issuer.svid_ttl cannot be used")]
    SvidTtl(#[source] EntryError),
    /// The trust domain's name leaves no room for the issuer's path.
    #[error("the issuer's SPIFFE ID cannot be formed")]
    Id(#[from] SpiffeIdError),
    /// Its own certificate.
    #[error("the issuer has no certificate for itself")]
    Own(#[from] OwnError),
    /// The contract of the API.
    #[error("the API's contract is inconsistent")]
    Contract(#[from] ContractError),
    /// The administration socket.
    #[error("the administration socket cannot be opened")]
    AdminSocket(#[from] BindError),
    /// The series.
    #[error("the issuer's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// A running issuer. Clones share everything; its maintenance ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Issuer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    issuing: Arc<Issuing>,
    limits: Arc<Limits>,
    rules: EntryRules,
    id: SpiffeId,
    identity: Identity,
    policy: PolicyHandle,
    decisions: DecisionIds,
    refusals: Arc<Refusals>,
    admin_socket: PathBuf,
    about: Arc<About>,
    _maintenance: [AbortOnDropHandle<()>; 3],
}

impl Issuer {
    /// Refuses what [`Issuer::start`] would refuse for what the configuration says, and for what is where it points to.
    /// Starts, makes and changes nothing, and reads no key.
    pub fn check(config: &IssuerConfig) -> Result<(), StartError> {
        Self::rules(config)?;
        issuer_id(&config.trust_domain)?;
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
        let authorities = Authorities::open(dir, &config.trust_domain, profiles, entropy, now, in_use)?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&store_path)?);
        store.note_start(now).await?;
        let roots = vec![authorities.root().clone()];
        let trust = Trust::start(Arc::clone(&store), &config.trust_domain, roots).await?;
        let metrics = Metrics::new()?;
        metrics.authorities(&authorities);
        let issuing = Arc::new(Issuing {
            authorities,
            attestor: Arc::new(JoinTokenAttestor::new(Arc::clone(&store))),
            store,
            trust,
            clock,
            nonces: Nonces::default(),
            metrics,
            svid_ttl,
            recovery_window: config.recovery_window,
        });
        Self::assemble(config, issuing, rules).await
    }

    async fn assemble(
        config: &IssuerConfig,
        issuing: Arc<Issuing>,
        rules: EntryRules,
    ) -> Result<Self, StartError> {
        let id = issuer_id(&config.trust_domain)?;
        let svid = own::issue(&issuing, &id).await?;
        let bundles: BundleSet = std::iter::once(issuing.trust.current()).collect();
        let (publisher, identity) =
            Identity::publisher_with_clock(Snapshot::new(svid, bundles), Arc::clone(&issuing.clock));
        let publisher: Arc<Publisher> = Arc::new(publisher);
        let methods = Methods::new(&[&avouch_api::CONTRACT])?;
        let spawn = |task: tokio::task::JoinHandle<()>| AbortOnDropHandle::new(task);
        let maintenance = [
            spawn(tokio::spawn(maintenance::renew_own(Arc::clone(&issuing), id.clone(), publisher))),
            spawn(tokio::spawn(maintenance::renew_signing(Arc::clone(&issuing)))),
            spawn(tokio::spawn(maintenance::prune(Arc::clone(&issuing), config.retention))),
        ];
        Ok(Self {
            inner: Arc::new(Inner {
                limits: Arc::new(Limits::new(&config.rate_limits)),
                policy: PolicyHandle::fixed(Policy::without_roles(&methods)),
                decisions: DecisionIds::random(),
                refusals: Arc::default(),
                admin_socket: config.admin_socket.clone(),
                about: Arc::new(About::new(identity.clone(), config.data_dir.clone(), issuing.clock.now())),
                issuing,
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
        &self.inner.issuing.trust
    }

    /// Its records.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.issuing.store
    }

    /// Shows the issuer's own series beside those of every process.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), StartError> {
        Ok(self.inner.issuing.metrics.register(registry)?)
    }

    /// The rules of its API: no role is asked for anywhere, so there is no policy file.
    pub fn policy(&self) -> &PolicyHandle {
        &self.inner.policy
    }

    /// Tells the administrator what the process around this issuer knows of itself. Only the first one counts.
    pub fn describe(&self, process: Arc<dyn Process>) {
        let _ = self.inner.about.process.set(process);
    }

    /// Puts what this issuer refuses among the records of the process around it. Only the first recorder counts.
    pub fn record_with(&self, recorder: Recorder) {
        self.inner.refusals.record_with(recorder);
    }

    /// Where workloads reach this issuer, `host:port`, if that is not where it listens. Only the first ones count.
    pub fn advertise(&self, addresses: Vec<String>) {
        let _ = self.inner.about.advertised.set(addresses);
    }

    /// The workloads' service. It expects [`Issuer::authz`] around it and [`Issuer::configure`] of the server before it.
    /// Trust streams end, cleanly, when `drain` is cancelled.
    pub fn workload_routes(&self, drain: CancellationToken) -> Routes {
        let service = IssuerService {
            issuing: Arc::clone(&self.inner.issuing),
            limits: Arc::clone(&self.inner.limits),
            decisions: self.inner.decisions.clone(),
            refusals: Arc::clone(&self.inner.refusals),
            drain,
        };
        Routes::new(IssuerServer::new(service).max_decoding_message_size(MAX_REQUEST))
    }

    pub(crate) fn admin_service(&self) -> AdminService {
        AdminService {
            issuing: Arc::clone(&self.inner.issuing),
            rules: self.inner.rules.clone(),
            issuer_id: self.inner.id.clone(),
            about: Arc::clone(&self.inner.about),
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
            .observer(Arc::new(SeenObserver::new(self.store(), &self.inner.issuing.clock)))
    }

    /// Serves workloads until `shutdown`, then ends trust streams and lets calls finish. Without telemetry, health and
    /// reflection, which the program `avouch-issuer` adds.
    pub async fn serve_workloads(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<Drained, ServerError> {
        if let Ok(address) = listener.local_addr() {
            let _ = self.inner.about.listen.set(address);
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
        let served = admin::serve(self, listener, shutdown).await;
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
    /// Called on the connection's task: hands over, and drops the sighting rather than wait.
    fn connection(&self, record: &avouch_identity::ConnectionRecord) {
        if let (avouch_identity::Verdict::Accepted, Some(serial)) = (record.verdict, &record.peer_serial) {
            let _ = self.seen.try_send((serial.clone(), self.clock.now()));
        }
    }
}
