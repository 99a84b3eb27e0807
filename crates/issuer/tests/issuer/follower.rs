//! A workload that follows the trust stream by generations, as plainly as the contract has it.

use crate::harness::{Raw, World};
use avouch_api::issuer::v1 as api;
use avouch_issuer::store::{By, RevocationRecord, Revoke, RevokeOutcome, Subject};
use avouch_spiffe::trust_state::Changes;
use avouch_spiffe::{Generation, Revocations};
use prost::Message;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub(crate) struct Follower {
    acks: mpsc::Sender<api::WatchTrustRequest>,
    states: Streaming<api::WatchTrustResponse>,
    pub(crate) instance: [u8; 16],
    pub(crate) held: Generation,
    pub(crate) revocations: Revocations,
}

/// What an update was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Delta,
}

impl Follower {
    /// Opens the stream as a process that holds nothing.
    pub(crate) async fn open(raw: &mut Raw, instance: u8) -> Self {
        Self::holding(raw, instance, Generation::NONE, Revocations::default()).await.unwrap()
    }

    /// Opens the stream as a process that holds this.
    pub(crate) async fn holding(
        raw: &mut Raw,
        instance: u8,
        held: Generation,
        revocations: Revocations,
    ) -> Result<Self, Status> {
        let (acks, outgoing) = mpsc::channel(4);
        let states = raw.client.watch_trust(ReceiverStream::new(outgoing)).await?.into_inner();
        let follower = Self { acks, states, instance: [instance; 16], held, revocations };
        follower.say(Vec::new()).await;
        Ok(follower)
    }

    /// Says what it uses, and returns these revocations.
    pub(crate) async fn say(&self, returned: Vec<u8>) {
        let acknowledged = Some(api::Generation { epoch: self.held.epoch, counter: self.held.counter });
        let ack = api::WatchTrustRequest {
            acknowledged,
            instance: self.instance.to_vec(),
            returned,
            connections_ended: 3,
            ..api::WatchTrustRequest::default()
        };
        let _ = self.acks.send(ack).await; // a stream that has ended is found by its reader
    }

    /// The next update, not applied.
    pub(crate) async fn update(&mut self) -> Result<api::TrustUpdate, Status> {
        let message = tokio::time::timeout(Duration::from_secs(10), self.states.message()).await;
        let message = message.expect("an update in time")?.ok_or_else(|| Status::ok("the end"))?;
        assert!(message.bundle.is_none(), "it knows generations");
        Ok(api::TrustUpdate::decode(message.trust).unwrap())
    }

    /// Takes the next update and acknowledges it.
    pub(crate) async fn next(&mut self) -> Kind {
        let update = self.update().await.unwrap();
        let kind = self.apply(&update);
        self.say(Vec::new()).await;
        kind
    }

    pub(crate) fn apply(&mut self, update: &api::TrustUpdate) -> Kind {
        let generation = |wire: api::Generation| Generation { epoch: wire.epoch, counter: wire.counter };
        let kind = match update.base.map(generation) {
            None => {
                self.revocations = Revocations::decode(&update.revoked).unwrap();
                Kind::Whole
            }
            Some(base) => {
                assert_eq!(base, self.held);
                let changes = Changes::decode(&update.revoked, &update.restored).unwrap();
                self.revocations = self.revocations.apply(&changes).unwrap();
                Kind::Delta
            }
        };
        assert_eq!(self.revocations.digest().to_vec(), update.digest);
        let next = update.generation.map(generation).unwrap();
        assert!(next > self.held, "{next} after {}", self.held);
        self.held = next;
        kind
    }

    /// Waits for the end of the stream.
    pub(crate) async fn end(mut self) -> Option<Status> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(10), self.states.message()).await;
            match message.expect("the end in time") {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }
}

/// Revokes these identities, for this long, and publishes that at once. Gives the last revocation.
pub(crate) async fn revoke(world: &World, ids: &[&str], seconds: u64) -> RevocationRecord {
    let now = world.clock.shared().now();
    let mut last = None;
    for id in ids {
        let revoke = Revoke {
            subject: Subject::Identity(id.parse().unwrap()),
            by: By { reason: "stolen".to_owned(), ..By::new("uid 0", now) },
            expires_at: Some(now + Duration::from_secs(seconds)),
            longest_life: Duration::from_secs(24 * 3_600),
            dry_run: false,
            force: true,
        };
        match world.issuer().store().revoke(revoke).await.unwrap() {
            RevokeOutcome::Made(record, _) => last = Some(*record),
            other => panic!("{other:?}"),
        }
    }
    world.issuer().trust().refresh().await.unwrap();
    last.unwrap()
}
