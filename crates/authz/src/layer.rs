//! The decision as a tower layer: enforced once per call, before anything of the service runs.
//!
//! It reads who calls from the request's extensions (`Arc<PeerIdentity>`, put there by the identity library's server,
//! or [`LocalAdminCaller`]), asks the active policy, and either puts the [`Permit`] into the extensions and passes the
//! request on, or answers by itself with a trailers-only gRPC status. No request header is trusted. An allowed call
//! costs one allocation, the extension's; no lock is taken.

mod decision_id;
mod denied_call;
mod extract;
mod observer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use avouch_limits::{Network, RateLimiter, log_lines};
use avouch_spiffe::{PeerIdentity, Reason, SpiffeId, TrustDomain};
use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use decision_id::{DecisionId, DecisionIds, UnknownDecisionId};
pub use denied_call::Disclosure;
pub use observer::{DecisionObserver, DeniedCall};

use self::denied_call::Enforcement;
use crate::decide::{Caller, LocalAdminCaller, Permit};
use crate::denial::Denial;
use crate::handle::PolicyHandle;

/// Finds the connection's id for the record of a denied call.
type ConnectionIdOf = fn(&Extensions) -> Option<String>;

/// Finds the network a caller comes from.
type NetworkOf = fn(&Extensions) -> Option<Network>;

/// The key of the rate limit on records of denied calls.
type Source = (Option<Network>, Option<SpiffeId>, Reason, Enforcement);

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
    records: Arc<RateLimiter<Source>>,
}

impl AuthzLayer {
    /// Enforces the active policy of `policy`. `trust_domain` is the server's own: callers from elsewhere are
    /// told nothing but the decision's id. `observer` is told of every decision; pass `Arc::new(())` for none.
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
            records: Arc::new(log_lines()),
        }))
    }

    /// How to find the network a request came from. The records of denied calls are limited by caller, network and reason,
    /// so that nobody can fill the log and hide other callers in it.
    #[must_use]
    pub fn network(mut self, of: NetworkOf) -> Self {
        Arc::make_mut(&mut self.0).network = of;
        self
    }

    /// How to find the id of the connection a request came over, which the record of a denied call names.
    #[must_use]
    pub fn connection_id(mut self, of: ConnectionIdOf) -> Self {
        Arc::make_mut(&mut self.0).connection_id = of;
        self
    }

    /// The source of decision ids; for tests that want known ones.
    #[must_use]
    pub fn decision_ids(mut self, ids: DecisionIds) -> Self {
        Arc::make_mut(&mut self.0).ids = ids;
        self
    }
}

impl Settings {
    fn denied_call<'a>(
        &self,
        denial: &'a Denial,
        enforcement: Enforcement,
        extensions: &Extensions,
    ) -> DeniedCall<'a> {
        let source = ((self.network)(extensions), denial.peer().cloned(), denial.reason(), enforcement);
        let suppressed = self.records.check(source, Instant::now()).ok();
        DeniedCall { decision_id: self.ids.next(), denial, suppressed }
    }

    fn record(&self, call: &DeniedCall<'_>, enforcement: Enforcement, extensions: &Extensions) {
        if let Some(suppressed) = call.suppressed {
            denied_call::record(call, enforcement, (self.connection_id)(extensions), suppressed);
        }
    }

    /// Records a call that goes through in audit mode like the denied call that it would be.
    #[cold]
    fn audited(&self, denial: &Denial, extensions: &Extensions) {
        let call = self.denied_call(denial, Enforcement::Audited, extensions);
        self.observer.audited(&call, extensions);
        self.record(&call, Enforcement::Audited, extensions);
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
                let call = settings.denied_call(&denial, Enforcement::Denied, request.extensions());
                settings.observer.denied(&call, request.extensions());
                settings.record(&call, Enforcement::Denied, request.extensions());
                let response = Some(denied_call::response(&call, &settings.trust_domain));
                ResponseFuture { answer: Answer::Denied { response } }
            }
        }
    }
}

/// Decides a call by the request's extensions. A verified peer comes first: the local administrator's rights are never
/// added to a peer's.
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
    /// The service's answer, or that of the layer.
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
        Denied { response: Option<Response<R>> },
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
            // A future must not be polled again after its end; if it is, there is no second answer to give.
            Projection::Denied { response } => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}

#[cfg(test)]
mod tests;
