//! The renewal of an identity: renews it for ever, recovers it where a renewal came too late by our clock or by the
//! issuer's, and follows the trust stream.
//!
//! The SVID in use is kept outside of the task, so that a task that died can begin again where it was.

use std::sync::{Arc, Mutex, PoisonError};

use avouch_spiffe::{Bundle, BundleSet};
use avouch_text::with_causes;

use super::super::error::IdentityError;
use super::super::trust_stream;
use super::{Current, RENEWAL, Source, trust_in};
use crate::channel::Channel;
use crate::identity::{Identity, Publisher};
use crate::svid::Svid;

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
            addresses: identity.advertised(),
            publisher: &publisher,
            state: &self.state,
            context: &self.context,
        };
        tokio::join!(stream.follow(), self.renew_for_ever(&channel, &in_use, &publisher));
    }

    async fn renew_for_ever(&self, channel: &Channel, in_use: &Mutex<Current>, publisher: &Publisher) {
        let clock = &self.context.clock;
        let mut current = in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failures = 0;
        loop {
            RENEWAL.wait(failures, current.svid.not_after(), clock).await;
            let (how, outcome) = self.next(channel, &current, publisher).await;
            let failure = match outcome {
                Ok(renewed) => {
                    publish(publisher, &renewed);
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
    ) -> (&'static str, Result<Current, IdentityError>) {
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
        let trust = trust_in(&newest_bundle(publisher, current));
        ("recover", self.recover(&current.svid, &current.key, trust).await)
    }
}

fn newest_bundle(publisher: &Publisher, current: &Current) -> Bundle {
    let domain = current.svid.spiffe_id().trust_domain();
    let published = publisher.current().trust.bundles().get(domain).map(|bundle| bundle.as_ref().clone());
    published.unwrap_or_else(|| current.bundle.clone())
}

fn expired_on_arrival(svid: &Svid) -> IdentityError {
    let id = svid.spiffe_id();
    IdentityError::Answer(format!("by this machine's clock the fresh SVID of {id} has expired already"))
}

/// Publishes a renewed SVID, with its bundle unless the trust stream has brought a newer one.
fn publish(publisher: &Publisher, renewed: &Current) {
    let known = publisher.current();
    let known = known.trust.bundles().get(renewed.svid.spiffe_id().trust_domain());
    if known.is_some_and(|known| known.sequence() >= renewed.bundle.sequence()) {
        return publisher.update(renewed.svid.clone());
    }
    let mut bundles = BundleSet::default();
    bundles.insert(renewed.bundle.clone());
    publisher.update((renewed.svid.clone(), bundles));
}
