//! The decision as a tower layer: enforced once per call, before anything of the service runs.
//!
//! It reads who calls from the request's extensions (`Arc<PeerIdentity>`, put there by the identity library's server,
//! or [`LocalAdminCaller`]), asks the policy in force, and either puts the [`Permit`] into the extensions and passes the
//! request on, or answers by itself with a trailers-only gRPC status. No header is believed. An allowed call costs one
//! allocation, the extension's; no lock is taken.

mod decision_id;
mod extract;
mod observer;
mod refusal;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use avouch_spiffe::throttle::{self, Throttle};
use avouch_spiffe::{Network, PeerIdentity, Reason, SpiffeId, TrustDomain};
use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use decision_id::{DecisionId, DecisionIds, UnknownDecisionId};
pub use observer::{DecisionObserver, Refusal};
pub use refusal::Disclosure;

use crate::decide::{Caller, LocalAdminCaller, Permit};
use crate::denial::Denial;
use crate::handle::PolicyHandle;
use refusal::Verdict;

/// Finds the connection's id for the record of a refusal.
type ConnectionIdOf = fn(&Extensions) -> Option<String>;

/// Finds the network a caller comes from.
type NetworkOf = fn(&Extensions) -> Option<Network>;

/// Whose records of refusals are counted together.
type Source = (Option<Network>, Option<SpiffeId>, Reason, Verdict);

/// Puts [`Authz`] around a service.
#[derive(Clone)]
pub struct AuthzLayer(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    policy: PolicyHandle,
    trust_domain: TrustDomain,
    observer: Arc<dyn DecisionObserver>,
    ids: DecisionIds,
    connection_id: ConnectionIdOf,
    network: NetworkOf,
    records: Arc<Throttle<Source>>,
}

impl AuthzLayer {
    /// Enforces the policy that `policy` has in force. `trust_domain` is the server's own: callers from elsewhere are
    /// told nothing but the decision's id. `observer` hears of every decision; `Arc::new(())` if nobody wants to.
    #[must_use]
    pub fn new(policy: PolicyHandle, trust_domain: TrustDomain, observer: Arc<dyn DecisionObserver>) -> Self {
        let ids = DecisionIds::random();
        Self(Arc::new(Settings {
            policy,
            trust_domain,
            observer,
            ids,
            connection_id: |_| None,
            network: |_| None,
            records: Arc::new(throttle::log_lines()),
        }))
    }

    /// How to find the network a request came from: of the same caller from the same network only so many refusals for
    /// the same reason are recorded, so that nobody fills the log and hides others in it.
    #[must_use]
    pub fn network(mut self, of: NetworkOf) -> Self {
        Arc::make_mut(&mut self.0).network = of;
        self
    }

    /// How to find the id of the connection a request came over, to be named in the record of a refusal.
    #[must_use]
    pub fn connection_id(mut self, of: ConnectionIdOf) -> Self {
        Arc::make_mut(&mut self.0).connection_id = of;
        self
    }

    /// Where decision ids come from; for tests that want known ones.
    #[must_use]
    pub fn decision_ids(mut self, ids: DecisionIds) -> Self {
        Arc::make_mut(&mut self.0).ids = ids;
        self
    }
}

impl Settings {
    fn refusal<'a>(&self, denial: &'a Denial, verdict: Verdict, extensions: &Extensions) -> Refusal<'a> {
        let source = ((self.network)(extensions), denial.peer().cloned(), denial.reason(), verdict);
        let suppressed = self.records.pass(source, Instant::now());
        Refusal { decision_id: self.ids.next(), denial, suppressed }
    }

    fn record(&self, refusal: &Refusal<'_>, verdict: Verdict, extensions: &Extensions) {
        if let Some(suppressed) = refusal.suppressed {
            refusal::record(refusal, verdict, (self.connection_id)(extensions), suppressed);
        }
    }

    /// A call that goes through in audit mode: recorded like the refusal that it would be.
    #[cold]
    fn audited(&self, denial: &Denial, extensions: &Extensions) {
        let refusal = self.refusal(denial, Verdict::Audited, extensions);
        self.observer.audited(&refusal, extensions);
        self.record(&refusal, Verdict::Audited, extensions);
    }
}

impl fmt::Debug for AuthzLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthzLayer").field("policy", &self.0.policy.path()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AuthzLayer {
    type Service = Authz<S>;

    fn layer(&self, inner: S) -> Authz<S> {
        Authz { inner, settings: Arc::clone(&self.0) }
    }
}

/// A service behind a policy. Made by [`AuthzLayer`].
#[derive(Clone)]
pub struct Authz<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S: fmt::Debug> fmt::Debug for Authz<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authz").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for Authz<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match decide(&self.settings.policy, request.extensions(), request.uri().path()) {
            Ok(permit) => {
                match permit.audited() {
                    None => self.settings.observer.allowed(&permit, request.extensions()),
                    Some(denial) => self.settings.audited(denial, request.extensions()),
                }
                tracing::trace!(method = permit.path(), role = permit.role(), "call allowed");
                request.extensions_mut().insert(permit);
                ResponseFuture { answer: Answer::Forward { future: self.inner.call(request) } }
            }
            Err(denial) => {
                let settings = &self.settings;
                let refusal = settings.refusal(&denial, Verdict::Refused, request.extensions());
                settings.observer.denied(&refusal, request.extensions());
                settings.record(&refusal, Verdict::Refused, request.extensions());
                let response = Some(refusal::response(&refusal, &settings.trust_domain));
                ResponseFuture { answer: Answer::Refused { response } }
            }
        }
    }
}

/// A verified peer comes first: the local administrator's rights are never added to a peer's.
fn decide(policy: &PolicyHandle, extensions: &Extensions, path: &str) -> Result<Permit, Denial> {
    if let Some(peer) = extensions.get::<Arc<PeerIdentity>>() {
        policy.decide_peer(peer, path)
    } else if extensions.get::<LocalAdminCaller>().is_some() {
        policy.decide(Caller::LocalAdmin, path)
    } else {
        policy.decide(Caller::Anonymous, path)
    }
}

pin_project! {
    /// The service's answer, or the refusal.
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        answer: Answer<F, R>,
    }
}

pin_project! {
    #[project = Projection]
    #[derive(Debug)]
    enum Answer<F, R> {
        Forward { #[pin] future: F },
        Refused { response: Option<Response<R>> },
    }
}

impl<F, E, R> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            Projection::Forward { future } => future.poll(cx),
            // Polled again after its end, which no executor does, it has no second answer to give.
            Projection::Refused { response } => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}

#[cfg(test)]
mod tests;
