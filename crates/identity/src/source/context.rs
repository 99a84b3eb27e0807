//! What every source needs beside its configuration, and how it tells what happens.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_spiffe::JoinToken;
use avouch_text::with_causes;
use avouch_time::clock::SharedClock;

use super::error::IdentityError;
use super::event::{IdentityEvent, IdentityObserver};
use crate::clock_skew::IssuerClock;
use crate::supervise;

/// The difference of clocks that is worth a warning.
const SKEW: Duration = Duration::from_secs(10);

/// What every source needs beside its configuration.
#[derive(Clone, Debug)]
pub(crate) struct SourceContext {
    pub(crate) clock: SharedClock,
    pub(crate) issuer_clock: IssuerClock,
    pub(crate) observer: Option<Arc<dyn IdentityObserver>>,
    pub(crate) outgoing: Option<fn(&mut http::HeaderMap)>,
    /// The join token of the first contact, where it is in no file.
    pub(crate) token: Option<Arc<JoinToken>>,
    /// The time limit for a first SVID; `None`: none.
    pub(crate) start_timeout: Option<Duration>,
}

impl SourceContext {
    /// A request to the issuer, with the headers the process adds to its calls.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(outgoing) = self.outgoing {
            outgoing(request.metadata_mut().as_mut());
        }
        request
    }

    pub(crate) fn tell(&self, event: &IdentityEvent) {
        match event {
            IdentityEvent::Issued { how, spiffe_id, serial, .. } => {
                tracing::info!(how, %spiffe_id, serial, "SVID in use");
            }
            IdentityEvent::Failed { how, error } => {
                tracing::warn!(how, error, "no fresh SVID; the current one stays in use");
            }
            // Each problem has been logged where it was found.
            IdentityEvent::Files { problems } => tracing::debug!(problems = problems.len(), "identity files"),
            // Breaks off with every connection that retires.
            IdentityEvent::TrustStream { up } => tracing::debug!(up, "trust stream"),
            // Each problem has been logged where it was found.
            IdentityEvent::TrustState { generation, revocations, .. } => {
                tracing::debug!(%generation, revocations, "trust state");
            }
            IdentityEvent::Clock { difference } if difference.size() >= SKEW => {
                tracing::warn!(
                    ahead_millis = difference.ahead_millis,
                    "this process's clock is {difference}; certificates will look expired or not yet valid"
                );
            }
            IdentityEvent::Clock { difference } => {
                tracing::debug!(ahead_millis = difference.ahead_millis, "issuer's clock");
            }
        }
        let Some(observer) = &self.observer else { return };
        // An observer is foreign code; its panic must not end the identity's task.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer.event(event)));
        if told.is_err() {
            tracing::error!(?observer, "an observer of the identity panicked");
        }
    }

    /// Keeps a source's task running.
    pub(crate) fn keep_running<F>(
        &self,
        begin: impl Fn() -> F + Send + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let context = self.clone();
        supervise::keep_running("the source of this identity", begin, move |how| {
            let error = format!("the task that keeps this identity fresh died: {how}");
            context.tell(&IdentityEvent::Failed { how: "source", error });
        })
    }

    /// Measures the clock against the issuer's, if it said what its own shows.
    pub(crate) fn issuer_time(&self, issuer: Option<SystemTime>) {
        let Some(issuer) = issuer else { return };
        let difference = self.issuer_clock.measure(self.clock.now(), issuer);
        self.tell(&IdentityEvent::Clock { difference });
    }

    pub(crate) fn issued(&self, how: &'static str, svid: &crate::svid::Svid) {
        self.tell(&IdentityEvent::Issued {
            how,
            spiffe_id: svid.spiffe_id().clone(),
            serial: svid.leaf().serial().to_owned(),
            not_after: svid.not_after(),
        });
    }

    pub(crate) fn failed(&self, how: &'static str, error: &IdentityError) {
        self.tell(&IdentityEvent::Failed { how, error: with_causes(error).to_string() });
    }
}
