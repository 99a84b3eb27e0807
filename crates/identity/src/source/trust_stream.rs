//! The client of the issuer's trust stream: trust states down, acknowledgements up.
//!
//! What arrives is published at once and acknowledged once it is on disk, so that whoever waits for acknowledgements knows
//! that a restart forgets nothing. An issuer that knows no trust states sends bundles; they are acknowledged by their
//! sequence numbers, as ever.

use std::collections::BTreeSet;
use std::time::Duration;

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_spiffe::{Generation, RevocationKey, TrustDomain};
use avouch_text::with_causes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::context::SourceContext;
use super::event::IdentityEvent;
use super::issuer_connection::parse_bundle;
use super::trust_holder::{TrustHolder, wire};
use crate::channel::Channel;
use crate::identity::{Identity, Publisher};
use crate::jitter;

/// The pause before a stream that brought nothing is opened again; it doubles each time. One that brought something
/// begins with the first pause again, since streams end with their connections all the time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest pause: the time by which a workload that lost its stream may learn of a revocation late.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);
/// How long a stream lasts that is no failure.
const LASTING: Duration = Duration::from_secs(1);
/// The share by which pauses vary in either direction. Wide, since the streams of all workloads end with their issuer's
/// process at one moment.
const BACKOFF_JITTER: f64 = 0.6;
/// The most revocations that one message returns.
const RETURNED_AT_ONCE: usize = 1_000;
/// When it is said how many connections a new state has ended, after its acknowledgement: they end within milliseconds, and
/// those of a busy process within seconds.
const ENDED_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// The trust stream of one identity.
pub(super) struct TrustStream<'a> {
    pub(super) channel: &'a Channel,
    pub(super) identity: &'a Identity,
    pub(super) addresses: watch::Receiver<Vec<String>>,
    pub(super) publisher: &'a Publisher,
    pub(super) trust: &'a TrustHolder,
    pub(super) instance: [u8; 16],
    pub(super) context: &'a SourceContext,
}

impl TrustStream<'_> {
    /// Follows the stream, and opens it again when it ends.
    pub(super) async fn follow(&self) {
        self.context.tell(&IdentityEvent::TrustStream { up: false });
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            let mut up = false;
            if let Err(status) = self.once(&mut up).await {
                tracing::debug!(
                    code = ?status.code(),
                    message = status.message(),
                    "the trust stream is interrupted; the trust state in use stays"
                );
            }
            if up {
                self.context.tell(&IdentityEvent::TrustStream { up: false });
            }
            // Connections retire all the time; only a stream that was not up, or ended at once, was a failure.
            if up && begun.elapsed() > LASTING {
                backoff = Backoff::default();
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Follows one stream to its end. `up` becomes true once the issuer has accepted it.
    async fn once(&self, up: &mut bool) -> Result<(), tonic::Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let mut addresses = self.addresses.clone();
        // Changes count from here on: the acknowledgement below is made of the latest addresses.
        addresses.mark_unchanged();
        let mut written = self.trust.written();
        let mut talk = Talk::new(self, answers);
        // The receiver is ours and has room.
        let in_use = *written.borrow_and_update();
        let mut talking = talk.acknowledge(in_use).await;
        let mut client = IssuerClient::new(self.channel.clone());
        let mut stream = client.watch_trust(ReceiverStream::new(outgoing)).await?.into_inner();
        *up = true;
        self.context.tell(&IdentityEvent::TrustStream { up: true });
        talking &= talk.give_back().await;
        while talking {
            // The order does not matter: whatever is acknowledged is what is in use then.
            tokio::select! {
                message = stream.message() => match message? {
                    Some(message) => talking = talk.heard(&message).await,
                    None => break,
                },
                changed = written.changed() => {
                    let generation = *written.borrow_and_update();
                    talking = changed.is_ok() && talk.acknowledge(generation).await && talk.give_back().await;
                }
                changed = addresses.changed() => {
                    let generation = *written.borrow();
                    talking = changed.is_ok() && talk.acknowledge(generation).await;
                }
                () = talk.count_is_due() => {
                    let generation = *written.borrow();
                    talking = talk.tell_count(generation).await;
                }
            }
        }
        Ok(())
    }
}

/// The pauses between streams that were failures.
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_BACKOFF }
    }
}

impl Backoff {
    /// The pause after another failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = jitter::around(self.next, BACKOFF_JITTER);
        self.next = (self.next * 2).min(LONGEST_BACKOFF);
        pause
    }
}

/// What is said on one stream. Each method returns whether anybody listens still.
struct Talk<'a> {
    stream: &'a TrustStream<'a>,
    own: TrustDomain,
    answers: mpsc::Sender<WatchTrustRequest>,
    /// What has been returned on this stream.
    returned: BTreeSet<RevocationKey>,
    /// The whole state has been asked for and has not come.
    asked_for_all: bool,
    /// The number of ended connections that was told last, and when it is looked at again.
    told_count: u64,
    count_due: Vec<Instant>,
}

impl<'a> Talk<'a> {
    fn new(stream: &'a TrustStream<'a>, answers: mpsc::Sender<WatchTrustRequest>) -> Self {
        Self {
            own: stream.publisher.current().svid.spiffe_id().trust_domain().clone(),
            stream,
            answers,
            returned: BTreeSet::new(),
            asked_for_all: false,
            told_count: 0,
            count_due: Vec::new(),
        }
    }

    /// Takes what the issuer has sent.
    async fn heard(&mut self, message: &WatchTrustResponse) -> bool {
        let context = self.stream.context;
        context.issuer_time(message.issuer_time.and_then(|time| time.try_into().ok()));
        if message.trust.is_empty() {
            return self.heard_bundle(message).await;
        }
        let publisher = self.stream.publisher;
        let taken = self.stream.trust.take(&self.own, &message.trust, None, |state| {
            let Some(state) = state else { return };
            let (generation, revocations) = (state.generation, state.revocations.len());
            publisher.update(state);
            tracing::info!(%generation, revocations, "trust state updated");
        });
        match taken {
            // It is acknowledged once it is on disk.
            Ok(()) => self.asked_for_all = false,
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&error),
                    "the issuer's update of the trust state is not taken; the state in use stays"
                );
                // Once: a whole state that cannot be used either does not get better by being asked for again.
                if error.asks_for_all() && !self.asked_for_all {
                    self.asked_for_all = true;
                    return self.acknowledge(Generation::NONE).await;
                }
            }
        }
        true
    }

    /// Takes a bundle, from an issuer that knows no trust states.
    async fn heard_bundle(&mut self, message: &WatchTrustResponse) -> bool {
        // A message without anything tells the time.
        let Some(bundle) = &message.bundle else { return true };
        let bundle = match parse_bundle(bundle, &self.own) {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::warn!(%error, "the trust stream brought something unusable; the bundle in use stays");
                return true;
            }
        };
        let (sequence, roots) = (bundle.sequence(), bundle.authorities().len());
        let publisher = self.stream.publisher;
        let taken = self.stream.trust.take(&self.own, &[], Some(bundle), |state| {
            if let Some(state) = state {
                publisher.update(state);
                tracing::info!(sequence, roots, "trust bundle updated");
            }
        });
        debug_assert!(taken.is_ok(), "a bundle is no update that could be refused");
        let generation = *self.stream.trust.written().borrow();
        self.acknowledge(generation).await
    }

    /// Acknowledges what is in use; the first one opens the stream.
    async fn acknowledge(&mut self, generation: Generation) -> bool {
        let now = Instant::now();
        self.count_due = ENDED_AFTER.iter().rev().map(|after| now + *after).collect();
        self.send(generation, Vec::new()).await
    }

    /// Returns the revocations that the issuer does not know, those that have not been returned on this stream.
    async fn give_back(&mut self) -> bool {
        let unknown = self.stream.trust.unknown();
        let fresh: Vec<_> = unknown.iter().filter(|it| !self.returned.contains(&it.key)).collect();
        if !fresh.is_empty() {
            tracing::warn!(
                revocations = fresh.len(),
                "the issuer was restored from a backup and does not know all revocations: they are returned to it"
            );
        }
        for some in fresh.chunks(RETURNED_AT_ONCE) {
            let generation = *self.stream.trust.written().borrow();
            if !self.send(generation, some.iter().flat_map(|it| it.encode()).collect()).await {
                return false;
            }
            self.returned.extend(some.iter().map(|it| it.key));
        }
        true
    }

    /// Waits until the number of ended connections is to be looked at.
    async fn count_is_due(&self) {
        match self.count_due.last() {
            Some(due) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    /// Tells how many connections have ended, if that has changed.
    async fn tell_count(&mut self, generation: Generation) -> bool {
        self.count_due.pop();
        if self.told_count == self.stream.identity.connections_ended() {
            return true;
        }
        self.send(generation, Vec::new()).await
    }

    async fn send(&mut self, generation: Generation, returned: Vec<u8>) -> bool {
        self.told_count = self.stream.identity.connections_ended();
        let message = WatchTrustRequest {
            acknowledged_sequence: self.sequence_in_use(),
            addresses: self.stream.addresses.borrow().clone(),
            acknowledged: Some(wire(generation)),
            instance: self.stream.instance.to_vec(),
            returned,
            connections_ended: self.told_count,
        };
        self.answers.send(message).await.is_ok()
    }

    fn sequence_in_use(&self) -> u64 {
        let snapshot = self.stream.publisher.current();
        snapshot.trust.bundles().get(&self.own).map_or(0, |bundle| bundle.sequence())
    }
}
