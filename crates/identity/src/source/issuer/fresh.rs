//! Keeps an identity fresh: renews it for ever, recovers it where renewing came too late, follows the trust stream.
//!
//! What is in use lies outside of the task, so that a task that died can begin again where it was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_spiffe::{Bundle, BundleSet};

use super::super::{IdentityError, schedule, trust_stream};
use super::{Current, Source, issuer_id, trust_in};
use crate::channel::Channel;
use crate::snapshot::{Identity, Publisher};
use crate::svid::Svid;

impl Source {
    /// Renews for ever, and follows the trust stream beside it.
    pub(super) async fn keep_fresh(
        self: Arc<Self>,
        in_use: Arc<Mutex<Current>>,
        publisher: Arc<Publisher>,
        identity: Identity,
    ) {
        let url = format!("https://{}", self.target.authority);
        let issuer = match issuer_id(identity.spiffe_id().trust_domain()) {
            Ok(issuer) => issuer,
            Err(error) => return tracing::error!(%error, "this identity cannot be kept fresh"),
        };
        let channel = identity.channel(&url, issuer).default_timeout(None).build();
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return tracing::error!(%error, "this identity cannot be kept fresh"),
        };
        let stream = trust_stream::TrustStream {
            channel: &channel,
            addresses: identity.advertised(),
            publisher: &publisher,
            state: &self.state,
            surroundings: &self.surroundings,
        };
        tokio::join!(stream.follow(), self.renew_for_ever(&channel, &in_use, &publisher));
    }

    async fn renew_for_ever(&self, channel: &Channel, in_use: &Mutex<Current>, publisher: &Publisher) {
        let clock = &self.surroundings.clock;
        let mut current = in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failures = 0;
        let mut delay = schedule::renewal_delay(current.svid.not_after(), clock.now());
        loop {
            schedule::wait(delay, clock.as_ref()).await;
            let (how, outcome) = self.next(channel, &current, publisher).await;
            let failure = match outcome {
                Ok(renewed) => {
                    publish(publisher, &renewed);
                    in_use.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&renewed);
                    current = renewed;
                    // The issuer's clock and ours may disagree by more than a life: no reason to hurry it.
                    (current.svid.not_after() <= clock.now()).then(|| expired_on_arrival(&current.svid))
                }
                Err(error) => Some(error),
            };
            delay = self.delay_after(how, failure, &mut failures, &current.svid);
        }
    }

    /// A fresh SVID, and how it was asked for.
    async fn next(
        &self,
        channel: &Channel,
        current: &Current,
        publisher: &Publisher,
    ) -> (&'static str, Result<Current, IdentityError>) {
        if self.surroundings.clock.now() < current.svid.not_after() {
            return ("renew", self.renew(channel, current).await);
        }
        let trust = trust_in(&newest_bundle(publisher, current));
        ("recover", self.recover(&current.svid, &current.key, trust).await)
    }

    fn delay_after(
        &self,
        how: &'static str,
        failure: Option<IdentityError>,
        failures: &mut u32,
        svid: &Svid,
    ) -> Duration {
        let now = self.surroundings.clock.now();
        let Some(error) = failure else {
            *failures = 0;
            return schedule::renewal_delay(svid.not_after(), now);
        };
        *failures += 1;
        self.surroundings.failed(how, &error);
        schedule::retry_delay(*failures, svid.not_after(), now)
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
        return publisher.publish_svid(renewed.svid.clone());
    }
    let mut bundles = BundleSet::default();
    bundles.insert(renewed.bundle.clone());
    publisher.publish(renewed.svid.clone(), bundles);
}
