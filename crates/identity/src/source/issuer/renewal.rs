//! The renewal of an identity: renews it for ever, recovers it where a renewal came too late by our clock or by the
//! issuer's, and follows the trust stream.
//!
//! The SVID in use is kept outside of the task, so that a task that died can begin again where it was.

use std::sync::{Arc, Mutex, PoisonError};

use avouch_text::with_causes;

use super::super::error::IdentityError;
use super::super::trust_stream;
use super::{Current, Issued, RENEWAL, Source};
use crate::channel::Channel;
use crate::identity::{Identity, Publisher};
use crate::svid::Svid;
use crate::verify::Trust;

impl Source {
    /// Renews for ever, and follows the trust stream beside it.
    pub(super) async fn run_renewal(
        self: Arc<Self>,
        in_use: Arc<Mutex<Current>>,
        publisher: Arc<Publisher>,
        identity: Identity,
    ) {
        let url = format!("https://{}", self.target.authority);
        let issuer = identity.spiffe_id().trust_domain().issuer_id();
        let channel = identity.channel(&url, issuer).build();
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return tracing::error!(%error, "this identity cannot be kept fresh"),
        };
        let stream = trust_stream::TrustStream {
            channel: &channel,
            identity: &identity,
            addresses: identity.advertised(),
            publisher: &publisher,
            trust: &self.trust,
            instance: self.instance,
            context: &self.context,
        };
        let own = identity.spiffe_id().trust_domain().clone();
        tokio::join!(
            stream.follow(),
            self.trust.keep(&own, &publisher),
            self.renew_for_ever(&channel, &in_use, &publisher)
        );
    }

    async fn renew_for_ever(&self, channel: &Channel, in_use: &Mutex<Current>, publisher: &Publisher) {
        let clock = &self.context.clock;
        let mut current = in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failures = 0;
        loop {
            RENEWAL.wait(failures, current.svid.not_after(), clock).await;
            let (how, outcome) = self.next(channel, &current, publisher).await;
            let failure = match outcome {
                Ok(issued) => {
                    let renewed = self.take(how, issued, publisher).await;
                    in_use.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&renewed);
                    current = renewed;
                    // The clocks may differ by more than a certificate's life: counts as a failure, so that the next
                    // renewal waits for the backoff.
                    (current.svid.not_after() <= clock.now()).then(|| expired_on_arrival(&current.svid))
                }
                Err(error) => Some(error),
            };
            match failure {
                None => failures = 0,
                Some(error) => {
                    failures += 1;
                    self.context.failed(how, &error);
                }
            }
        }
    }

    /// A fresh SVID, and how it was asked for.
    async fn next(
        &self,
        channel: &Channel,
        current: &Current,
        publisher: &Publisher,
    ) -> (&'static str, Result<Issued, IdentityError>) {
        if self.context.clock.now() < current.svid.not_after() {
            match self.renew(channel, current).await {
                // The clocks differ. Waiting until the SVID has expired by ours too would leave us without a
                // certificate that peers accept.
                Err(error) if error.finds_svid_outside_dates() => {
                    tracing::warn!(error = %with_causes(&error), "the SVID does not hold by the issuer's clock");
                }
                outcome => return ("renew", outcome),
            }
        }
        let trust = Trust::Store(publisher.current().trust.clone());
        ("recover", self.recover(&current.svid, &current.key, trust).await)
    }

    /// Stores a fresh SVID and publishes it, in one snapshot with the trust state that came with it.
    async fn take(&self, how: &'static str, issued: Issued, publisher: &Publisher) -> Current {
        let Issued { current, trust } = issued;
        self.store(&current).await;
        self.context.issued(how, &current.svid);
        let (svid, own) = (current.svid.clone(), current.svid.spiffe_id().trust_domain());
        let taken = self.trust.take(own, &trust, Some(current.bundle.clone()), |state| match state {
            Some(state) => publisher.update((svid, state)),
            None => publisher.update(svid),
        });
        if let Err(error) = taken {
            tracing::warn!(
                error = %with_causes(&error),
                "the trust state that came with the SVID is not taken; the state in use stays"
            );
        }
        current
    }
}

fn expired_on_arrival(svid: &Svid) -> IdentityError {
    let id = svid.spiffe_id();
    IdentityError::Answer(format!("by this machine's clock the fresh SVID of {id} has expired already"))
}
