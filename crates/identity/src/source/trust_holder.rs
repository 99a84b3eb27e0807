//! The one place where the trust state of an identity changes: updates of the stream and of renewals are applied, published
//! and put to disk by it.
//!
//! An update is applied and published under one lock, so that an older state never replaces a newer one, whichever way
//! the two came. Writing follows on a thread of its own and delays no publication; an acknowledgement waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use avouch_api::issuer::v1 as api;
use avouch_spiffe::{Bundle, Generation, Revocation, TrustDomain, TrustState};
use avouch_text::with_causes;
use tokio::sync::watch;

use super::context::SourceContext;
use super::event::IdentityEvent;
use super::state::State;
use super::trust_update::{HeldTrust, TrustUpdateError};
use crate::identity::Publisher;

/// How long a revocation stays in force after its end by this machine's clock, which may be ahead of the issuer's. The issuer
/// leaves it out at its end; this is for a workload that the issuer does not reach.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);
/// How often it is looked for revocations that have ended.
const ENDS_INTERVAL: Duration = Duration::from_secs(10);

/// The trust state of one identity.
pub(super) struct TrustHolder {
    held: watch::Sender<HeldTrust>,
    /// The generation that is on disk, or cannot be put there. What is acknowledged.
    written: watch::Sender<Generation>,
    report: Mutex<Report>,
    state: Arc<State>,
    context: SourceContext,
}

/// What is told of the trust state.
struct Report {
    since: SystemTime,
    refused: Option<String>,
    not_on_disk: Option<String>,
}

impl TrustHolder {
    /// Holds what was stored.
    pub(super) fn new(held: HeldTrust, state: Arc<State>, context: SourceContext) -> Self {
        let report = Report { since: context.clock.now(), refused: None, not_on_disk: None };
        Self {
            written: watch::Sender::new(held.generation()),
            held: watch::Sender::new(held),
            report: Mutex::new(report),
            state,
            context,
        }
    }

    /// The state to be published.
    pub(super) fn in_force(&self) -> TrustState {
        self.held.borrow().in_force_at(self.ended_before())
    }

    /// The generation that is held, for a request.
    pub(super) fn generation(&self) -> api::Generation {
        wire(self.held.borrow().generation())
    }

    /// The generation to be acknowledged, now and later: the one that a restart would begin with.
    pub(super) fn written(&self) -> watch::Receiver<Generation> {
        self.written.subscribe()
    }

    /// The revocations that the issuer does not know.
    pub(super) fn unknown(&self) -> Vec<Revocation> {
        self.held.borrow().unknown().copied().collect()
    }

    /// Uses another state instead, as one of another trust domain would be of no use.
    pub(super) fn replace(&self, held: HeldTrust) {
        self.written.send_replace(held.generation());
        self.held.send_replace(held);
    }

    /// Applies what the issuer has sent: an encoded update, or, from an issuer that knows no trust states, the own bundle.
    /// `publish` gets the state to publish, if it has changed.
    pub(super) fn take(
        &self,
        own: &TrustDomain,
        update: &[u8],
        bundle: Option<Bundle>,
        publish: impl FnOnce(Option<TrustState>),
    ) -> Result<(), TrustUpdateError> {
        let (now, ended_before) = (self.context.clock.now(), self.ended_before());
        let mut refused = None;
        let changed = self.held.send_if_modified(|held| {
            let next = if update.is_empty() { Ok(None) } else { held.apply(update, own, now) };
            let next = next.unwrap_or_else(|error| {
                refused = Some(error);
                None
            });
            let next = next.or_else(|| held.with_bundle(bundle?));
            publish(next.as_ref().map(|next| next.in_force_at(ended_before)));
            let changed = next.is_some();
            if let Some(next) = next {
                *held = next;
            }
            changed
        });
        self.note(changed.then_some(now), |report| {
            if !update.is_empty() {
                report.refused = refused.as_ref().map(|error| {
                    format!("the issuer's update of the trust state is not taken: {}", with_causes(error))
                });
            }
        });
        match refused {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Puts the state to disk whenever it changes, and takes out of force what has ended.
    pub(super) async fn keep(&self, own: &TrustDomain, publisher: &Publisher) {
        let write = async {
            let mut held = self.held.subscribe();
            loop {
                held.mark_unchanged();
                self.write(own).await;
                // The sender is ours.
                let _ = held.changed().await;
            }
        };
        let end = async {
            loop {
                tokio::time::sleep(ENDS_INTERVAL).await;
                self.publish_ends(publisher);
            }
        };
        tokio::join!(write, end);
    }

    /// Puts the state to disk. Where that fails it is in use from memory.
    pub(super) async fn write(&self, own: &TrustDomain) {
        let (held, state, own) = (self.held.borrow().clone(), self.state.clone(), own.clone());
        let generation = held.generation();
        let outcome = match tokio::task::spawn_blocking(move || state.store_trust(&held, &own)).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and this task with it.
                Err(_cancelled) => return std::future::pending().await,
            },
        };
        let problem = outcome.err().map(|error| {
            let error = with_causes(&error).to_string();
            tracing::error!(
                error,
                "the trust state is in use but not on disk; a restart will begin with an older one"
            );
            format!("the trust state is in use but not on disk: {error}")
        });
        self.note(None, |report| report.not_on_disk = problem);
        self.written.send_if_modified(|written| std::mem::replace(written, generation) != generation);
    }

    /// Publishes the state again when something in it has ended, or is in force again since a clock was set back.
    fn publish_ends(&self, publisher: &Publisher) {
        let mut published = false;
        self.held.send_if_modified(|held| {
            let state = held.in_force_at(self.ended_before());
            published = state.revocations.len() != publisher.current().trust.state().revocations.len();
            if published {
                publisher.update(state);
            }
            false
        });
        if published {
            self.note(Some(self.context.clock.now()), |_| ());
        }
    }

    /// Tells the observer of the state, after what `change` has noted.
    fn note(&self, changed: Option<SystemTime>, change: impl FnOnce(&mut Report)) {
        let (since, problem) = {
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut report);
            report.since = changed.unwrap_or(report.since);
            (report.since, report.not_on_disk.clone().or_else(|| report.refused.clone()))
        };
        let state = self.in_force();
        let (generation, revocations) = (state.generation, state.revocations.len());
        self.context.tell(&IdentityEvent::TrustState { generation, revocations, since, problem });
    }

    /// What ended before this moment is no longer in force.
    fn ended_before(&self) -> SystemTime {
        let now = self.context.clock.now();
        now.checked_sub(CLOCK_MARGIN).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// A generation on the wire.
pub(super) fn wire(generation: Generation) -> api::Generation {
    api::Generation { epoch: generation.epoch, counter: generation.counter }
}
