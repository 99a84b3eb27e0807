//! An identity from the issuer: enroll, renew, recover, and follow the trust stream (ADR 3).
//!
//! The state table is in `docs/bootstrap-and-recovery.md`; each of its transitions has a named test in the issuer's
//! crate. No state is a dead end: transient failures are retried, and an error that needs an operator names the command
//! to run.

mod renewal;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{IssuedSvid, RenewRequest};
use avouch_spiffe::{Bundle, BundleSet, JoinToken, SpiffeId, TrustDomain, TrustState};
use avouch_text::with_causes;
use bytes::Bytes;
use rustls::pki_types::CertificateDer;

use super::context::SourceContext;
use super::enroll;
use super::error::IdentityError;
use super::event::IdentityEvent;
use super::issuer_connection::{Target, parse_bundle};
use super::key::SvidKey;
use super::recover::recover;
use super::state::{State, Stored, StoredTrust};
use super::trust_holder::TrustHolder;
use super::trust_update::HeldTrust;
use super::vouching::vouched_for;
use crate::channel::Channel;
use crate::config::IssuerConfig;
use crate::identity::{Identity, Snapshot};
use crate::renewal_schedule::RenewalSchedule;
use crate::svid::Svid;
use crate::trust::TrustStore;
use crate::verify::Trust;

/// The schedule of a workload: every few seconds once its SVID has expired, since nothing works until there is a fresh
/// one and an issuer that is back is to be noticed.
pub(super) const RENEWAL: RenewalSchedule = RenewalSchedule {
    first_retry: Duration::from_millis(500),
    longest_retry: Duration::from_secs(30),
    longest_retry_expired: Duration::from_secs(5),
    shortest_retry: Duration::from_millis(200),
    // Wide: a fleet that has lost its issuer, or has been started without one, comes back spread.
    jitter: 0.5,
};

/// An SVID in use, with what renewing it needs.
#[derive(Clone)]
struct Current {
    svid: Svid,
    key: Arc<SvidKey>,
    bundle: Bundle,
}

/// An SVID that the issuer has answered with, and has been checked.
struct Issued {
    current: Current,
    /// The trust state that came with it, encoded; empty: there is no newer one, or the issuer knows none.
    trust: Bytes,
}

/// Gets the first SVID and starts keeping it fresh.
pub(super) async fn start(config: IssuerConfig, context: SourceContext) -> Result<Identity, IdentityError> {
    let target = Target::parse(&config)?;
    let state = Arc::new(State::open(config.state_dir.clone())?);
    let trust = TrustHolder::new(HeldTrust::default(), state.clone(), context.clone());
    let (instance, pending) = (instance()?, Mutex::default());
    let source = Source { target, config, state, trust, instance, context, pending };
    // While the first SVID is waited for there is no trust stream either.
    source.context.tell(&IdentityEvent::TrustStream { up: false });
    let current = source.first().await?;
    let snapshot = Snapshot::new(current.svid.clone(), source.trust.in_force());
    let clock = source.context.clock.clone();
    let (publisher, identity) = Identity::publisher_with_clock(snapshot, clock);
    let identity = identity.with_issuer_clock(source.context.issuer_clock.clone());
    identity.advertise(source.config.addresses.clone());
    // This handle does not hold the task, so the task does not keep itself alive.
    let own = identity.clone();
    let context = source.context.clone();
    let (source, publisher) = (Arc::new(source), Arc::new(publisher));
    // What is in use is kept outside of the task, so that it can begin again.
    let current = Arc::new(Mutex::new(current));
    let task = context
        .keep_running(move || source.clone().run_renewal(current.clone(), publisher.clone(), own.clone()));
    Ok(identity.with_source(task))
}

/// What tells this process from every other one of its identity.
fn instance() -> Result<[u8; 16], IdentityError> {
    let mut instance = [0; 16];
    aws_lc_rs::rand::fill(&mut instance)
        .map_err(|_| IdentityError::Crypto("there is no randomness".to_owned()))?;
    Ok(instance)
}

/// The identity that an answer of the issuer has to be for: a workload that enrols learns its identity, and keeps it from
/// then on.
enum ExpectedIdentity<'a> {
    Anybody(&'a TrustDomain),
    Identity(&'a SpiffeId),
}

impl<'a> ExpectedIdentity<'a> {
    /// The trust domain, if an answer for `got` will do.
    fn check(&self, got: &SpiffeId) -> Result<&'a TrustDomain, IdentityError> {
        match self {
            Self::Anybody(domain) if got.trust_domain() == *domain => Ok(domain),
            Self::Anybody(domain) => Err(IdentityError::Answer(format!("it is for {got}, not in {domain}"))),
            Self::Identity(expected) if got == *expected => Ok(expected.trust_domain()),
            Self::Identity(expected) => {
                Err(IdentityError::Answer(format!("it is for {got}, not for {expected}")))
            }
        }
    }
}

struct Source {
    target: Target,
    config: IssuerConfig,
    state: Arc<State>,
    trust: TrustHolder,
    instance: [u8; 16],
    context: SourceContext,
    /// The key of a request whose answer has not been accepted yet. A repeated request has the same one: the issuer takes a
    /// second key for a sign that the first one's holder is not alone.
    pending: Mutex<Option<Arc<SvidKey>>>,
}

impl Source {
    /// The first SVID of this run: the stored one, a recovered one, or a new one.
    async fn first(&self) -> Result<Current, IdentityError> {
        let mut failures = 0;
        let mut stored = self.state.load()?;
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = stored.pending.take().map(Arc::new);
        self.hold_stored(&mut stored);
        let begun = tokio::time::Instant::now();
        loop {
            let now = self.context.clock.now();
            if let Some(current) = live(&mut stored, now) {
                self.context.issued("stored", &current.svid);
                return Ok(current);
            }
            match self.acquire(&mut stored).await {
                Ok((how, issued)) => return self.begin(how, issued).await,
                Err(error) if error.is_retryable() => {
                    failures += 1;
                    let delay = RENEWAL.delay(failures, now, now);
                    if self
                        .context
                        .start_timeout
                        .is_some_and(|start_timeout| begun.elapsed() + delay > start_timeout)
                    {
                        return Err(error);
                    }
                    tracing::warn!(
                        error = %with_causes(&error),
                        issuer = self.target.authority.as_str(),
                        retry_in_ms = delay.as_millis(),
                        "no identity yet"
                    );
                    tokio::time::sleep(delay).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Holds the stored trust state, with the later of the own bundles: a version that knew no trust states may have stored
    /// one since.
    fn hold_stored(&self, stored: &mut Stored) {
        let domain = stored.svid.as_ref().map(|(svid, _)| svid.spiffe_id().trust_domain().clone());
        let mut held = match &stored.trust {
            StoredTrust::Held(own, held) if domain.as_ref().is_none_or(|domain| domain == own) => {
                held.clone()
            }
            _ => HeldTrust::default(),
        };
        if let Some(later) = stored.bundle.as_ref().and_then(|bundle| held.with_bundle(bundle.clone())) {
            held = later;
        }
        let own = domain.and_then(|domain| held.state().bundles.get(&domain).cloned());
        stored.bundle = own.map(|bundle| bundle.as_ref().clone());
        self.trust.replace(held);
    }

    /// Takes the first SVID into use. Its trust state is on disk before it is, so that no restart has the SVID and not the
    /// revocations.
    async fn begin(&self, how: &'static str, issued: Issued) -> Result<Current, IdentityError> {
        let Issued { current, trust } = issued;
        let own = current.svid.spiffe_id().trust_domain();
        self.trust
            .take(own, &trust, Some(current.bundle.clone()), |_| ())
            .map_err(|error| IdentityError::Answer(format!("its trust state: {}", with_causes(&error))))?;
        self.trust.write(own).await;
        self.store(&current).await;
        self.context.issued(how, &current.svid);
        Ok(current)
    }

    /// Recovers an identity; enrolls where there is none, or where recovery is refused and there is a token.
    async fn acquire(&self, stored: &mut Stored) -> Result<(&'static str, Issued), IdentityError> {
        if let Some((svid, key)) = &stored.svid
            && let Some(trust) = self.trust_without_identity(stored.bundle.as_ref(), svid).await
        {
            match self.recover(svid, key, trust).await {
                Ok(issued) => return Ok(("recover", issued)),
                Err(error) if error.is_retryable() || !self.has_token() => {
                    return Err(error);
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(%error, "the expired identity cannot be recovered; trying the join token");
                }
            }
        }
        Ok(("enroll", self.enroll(stored).await?))
    }

    /// The trust anchors for the issuer without an identity in use: the stored bundle, or, where that is lost, the
    /// roots that the join token pins. A used token still contains them.
    async fn trust_without_identity(&self, bundle: Option<&Bundle>, svid: &Svid) -> Option<Trust> {
        if bundle.is_some() {
            return Some(trust_in(self.trust.in_force()));
        }
        let token = self.token().await?.ok()?;
        let is_ours = token.trust_domain() == svid.spiffe_id().trust_domain();
        is_ours.then(|| Trust::Pins(token.root_pins().into()))
    }

    fn has_token(&self) -> bool {
        self.context.token.is_some() || self.config.join_token_file.is_some()
    }

    /// The join token: the one in memory, else the file's. `None`: there is none.
    async fn token(&self) -> Option<Result<Arc<JoinToken>, IdentityError>> {
        if let Some(token) = &self.context.token {
            return Some(Ok(token.clone()));
        }
        let path = self.config.join_token_file.as_deref()?;
        Some(enroll::read_token(path).await.map(Arc::new))
    }

    async fn enroll(&self, stored: &mut Stored) -> Result<Issued, IdentityError> {
        let Some(token) = self.token().await else {
            return Err(IdentityError::NoToken { state: self.state.place() });
        };
        let token = token?;
        if let StoredTrust::Held(own, _) = &stored.trust
            && own != token.trust_domain()
        {
            // Of an earlier use of the directory.
            self.trust.replace(HeldTrust::default());
        }
        // The token may be bound to this key once it was sent, so it must be on disk before.
        let key = self.pending_key(Err)?;
        let held = self.trust.generation();
        let issued = enroll::enroll(&self.target, &self.context, &token, &key, held).await?;
        self.accept(issued, key, ExpectedIdentity::Anybody(token.trust_domain()))
    }

    async fn recover(&self, svid: &Svid, key: &SvidKey, trust: Trust) -> Result<Issued, IdentityError> {
        let next = self.next_key()?;
        let held = self.trust.generation();
        let issued = recover(&self.target, &self.context, trust, (svid, key), &next, held).await?;
        self.accept(issued, next, ExpectedIdentity::Identity(svid.spiffe_id()))
    }

    async fn renew(&self, channel: &Channel, current: &Current) -> Result<Issued, IdentityError> {
        let key = self.next_key()?;
        let held = Some(self.trust.generation());
        let mut request = self.context.request(RenewRequest { csr: key.request()?, held });
        request.set_timeout(self.config.bounded_timeout());
        let response = IssuerClient::new(channel.clone())
            .renew(request)
            .await
            .map_err(|status| IdentityError::Refused { action: "renew", status: Box::new(status) })?;
        let issued = response
            .into_inner()
            .svid
            .ok_or_else(|| IdentityError::Answer("it carries no SVID".to_owned()))?;
        self.accept(issued, key, ExpectedIdentity::Identity(current.svid.spiffe_id()))
    }

    /// A key for the successor of an SVID. On disk before it is used; but a full disk must not end an identity that
    /// can be renewed from memory.
    fn next_key(&self) -> Result<Arc<SvidKey>, IdentityError> {
        self.pending_key(|error| {
            tracing::error!(error = %with_causes(&error), "the next key is not on disk");
            Ok(())
        })
    }

    /// The key of the request that is repeated, or a new one. `not_stored` judges a new one that is not on disk.
    fn pending_key(
        &self,
        not_stored: impl FnOnce(IdentityError) -> Result<(), IdentityError>,
    ) -> Result<Arc<SvidKey>, IdentityError> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*pending {
            return Ok(key.clone());
        }
        let key = Arc::new(SvidKey::generate()?);
        self.state.store_pending(&key).or_else(not_stored)?;
        Ok(pending.insert(key).clone())
    }

    /// Checks the issuer's answer.
    fn accept(
        &self,
        issued: IssuedSvid,
        key: Arc<SvidKey>,
        expected: ExpectedIdentity<'_>,
    ) -> Result<Issued, IdentityError> {
        let issuer_time = issued.issuer_time.and_then(|time| time.try_into().ok());
        self.context.issuer_time(issuer_time);
        let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
        let svid = Svid::new(chain, &key.to_der())?;
        let domain = expected.check(svid.spiffe_id())?;
        if !key.is_for(svid.leaf().spki_der()) {
            return Err(IdentityError::Answer(format!("it is for another key of {}", svid.spiffe_id())));
        }
        let bundle = issued.bundle.ok_or_else(|| IdentityError::Answer("it carries no bundle".to_owned()))?;
        let bundle = parse_bundle(&bundle, domain)?;
        // An SVID that its own bundle does not vouch for would be rejected by every peer; the one in use is better.
        vouched_for(&svid, &store_of(&bundle), self.context.clock.now()).map_err(|rejection| {
            IdentityError::Answer(format!("its bundle does not vouch for it: {rejection}"))
        })?;
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(Issued { current: Current { svid, key, bundle }, trust: issued.trust })
    }

    /// Puts an SVID to disk. When that fails the SVID is used all the same, from memory.
    async fn store(&self, current: &Current) {
        let (state, current) = (self.state.clone(), current.clone());
        let stored = tokio::task::spawn_blocking(move || {
            state.store_svid(&current.svid, &current.key, &current.bundle)
        });
        match stored.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::error!(%error, "the SVID is in use but not on disk; a restart will have to recover");
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and this task with it.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }
}

/// The stored identity, if it can still be used.
fn live(stored: &mut Stored, now: std::time::SystemTime) -> Option<Current> {
    let is_live = stored.svid.as_ref().is_some_and(|(svid, _)| now < svid.not_after());
    // Without its revocations it would let in whoever has been shut out.
    let is_damaged = matches!(stored.trust, StoredTrust::Damaged);
    if !is_live || is_damaged || stored.bundle.is_none() {
        return None;
    }
    let (svid, key) = stored.svid.take()?;
    Some(Current { svid, key: Arc::new(key), bundle: stored.bundle.take()? })
}

fn trust_in(state: TrustState) -> Trust {
    Trust::Store(Arc::new(TrustStore::new(state)))
}

fn store_of(bundle: &Bundle) -> TrustStore {
    TrustStore::new(BundleSet::from_iter([bundle.clone()]))
}
