//! The trust stream: the trust state whole at first, then what changed; acknowledgements on the way back.
//!
//! A workload of the first version, which knows no generations, gets the whole bundle at once and after every change. The
//! stream ends with OK when the process drains, so that the workload reconnects, here or elsewhere; it also ends when the
//! client leaves. For a workload that stops reading, one message is buffered and no queue builds up: it gets the newest
//! state when it reads again.

mod addresses;
mod follower;
mod turn;

use super::{Caller, IssuerService};
use crate::error::IssueError;
use crate::store::TrustAck;
use crate::trust::{Published, Seat, Sent, Subscriber, instance};
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_spiffe::{Generation, PeerIdentity};
use avouch_text::with_causes;
use follower::{Follower, Next};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use turn::Turn;

pub(crate) type TrustStream = ReceiverStream<Result<WatchTrustResponse, Status>>;

/// Opens the stream of one workload.
pub(super) fn open(
    service: IssuerService,
    caller: Caller,
    acks: Streaming<WatchTrustRequest>,
) -> TrustStream {
    let (messages, stream) = mpsc::channel(1);
    // Subscribed before the first message is sent, so that no change in between is missed.
    let published = service.issuance.trust.subscribe();
    tokio::spawn(async move {
        if let Err(error) = follow(&service, &caller, published, acks, &messages).await {
            let status = service.refuse("watch-trust", &caller, &error);
            let _ = messages.send(Err(status)).await; // the client may be gone
        }
    });
    ReceiverStream::new(stream)
}

async fn follow(
    service: &IssuerService,
    caller: &Caller,
    mut published: watch::Receiver<Arc<Published>>,
    mut acks: Streaming<WatchTrustRequest>,
    messages: &mpsc::Sender<Result<WatchTrustResponse, Status>>,
) -> Result<(), IssueError> {
    let peer = caller.peer()?;
    let subscriber = Subscriber::new(peer, service.issuance.clock.now());
    let seat = service.issuance.trust.subscribers().join(subscriber);
    let mut stream = Stream { service, caller, peer, seat, follower: Follower::new(Instant::now()) };
    let mut room: Option<mpsc::Permit<'_, _>> = None;
    let (mut turn, mut listening) = (Turn::None, true);
    loop {
        let state = Arc::clone(&published.borrow_and_update());
        let next = stream.follower.next(&state);
        let (news, large) = (next != Next::Nothing, next.is_large());
        turn = turn.for_next(large && room.is_some(), service.issuance.trust.large_sends());
        if news
            && (!large || turn.has_come())
            && let Some(room) = room.take()
        {
            room.send(Ok(stream.message(next, &state)));
            turn = turn.used();
            continue;
        }
        let deadline = stream.follower.deadline();
        // Unbiased: of the arms that are ready one is taken at random, so that no stream of acknowledgements keeps a change
        // of trust or the end of the stream waiting.
        tokio::select! {
            () = service.drain.cancelled() => return Ok(()),
            () = messages.closed() => return Ok(()),
            // Room first, then the turn: whoever does not read takes no turn from others.
            reserved = messages.reserve(), if news && room.is_none() => match reserved {
                Ok(reserved) => room = Some(reserved),
                Err(_) => return Ok(()),
            },
            () = turn.come(), if turn.is_awaited() => {}
            changed = published.changed() => if changed.is_err() {
                return Ok(()); // the issuer is gone
            },
            () = at(deadline), if deadline.is_some() => stream.follower.overdue(),
            ack = acks.message(), if listening => match ack {
                Ok(Some(ack)) => stream.heard(ack).await?,
                Ok(None) => {
                    listening = false;
                    stream.follower.falls_silent();
                }
                Err(_) => return Ok(()), // the connection is gone, or the client is no client
            },
        }
        turn = turn.after(stream.follower.awaits_answer());
    }
}

/// Waits until `deadline`; without one, for ever.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// One stream.
struct Stream<'a> {
    service: &'a IssuerService,
    caller: &'a Caller,
    peer: &'a PeerIdentity,
    seat: Seat,
    follower: Follower,
}

impl Stream<'_> {
    /// The message that is sent next.
    fn message(&mut self, next: Next, published: &Published) -> WatchTrustResponse {
        let issuance = &self.service.issuance;
        match next {
            Next::Nothing => {}
            Next::Bundle => issuance.trust.metrics().sent(Sent::Bundle),
            Next::Delta(_) => issuance.trust.metrics().sent(Sent::Delta),
            Next::Whole(_) => issuance.trust.metrics().sent(Sent::Whole),
        }
        let message = self.follower.send(next, published, Instant::now());
        WatchTrustResponse { issuer_time: Some(issuance.clock.now().into()), ..message }
    }

    /// Takes a message of the workload.
    async fn heard(&mut self, ack: WatchTrustRequest) -> Result<(), IssueError> {
        let generation = ack.acknowledged.map(|it| Generation { epoch: it.epoch, counter: it.counter });
        // What follows from an update is no call. Otherwise a thousand replicas of one identity could not acknowledge a change.
        if !self.follower.acknowledged(generation) {
            self.service.limit_by_identity(self.caller)?;
        }
        let returned = ack.returned.clone();
        self.note(ack, generation).await;
        if returned.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.service.issuance.trust.take_returned(self.peer, &returned).await {
            let (error, peer) = (with_causes(&error), self.peer.spiffe_id());
            tracing::warn!(%error, %peer, "returned revocations are not recorded");
        }
        Ok(())
    }

    /// Records which state the workload uses.
    async fn note(&self, ack: WatchTrustRequest, generation: Option<Generation>) {
        let (issuance, peer) = (&self.service.issuance, self.peer);
        let now = issuance.clock.now();
        let (addresses, problem) = addresses::usable(&ack.addresses);
        // A workload depends on its updates, so an invalid address does not end its stream.
        if let Some(problem) = problem {
            self.service.refusals.addresses(peer.spiffe_id(), &problem);
        }
        if let Some(held) = generation {
            issuance.trust.acknowledged(peer, held);
        }
        let published = issuance.trust.published();
        // A workload cannot use what has not been published.
        let held = generation.map(|held| if held > published.generation() { Generation::NONE } else { held });
        let instance = instance(&ack.instance);
        self.seat.update(|subscriber| {
            subscriber.addresses.clone_from(&addresses);
            subscriber.instance = instance;
            subscriber.generation = held;
            subscriber.acknowledged_at = now;
            subscriber.connections_ended = ack.connections_ended;
        });
        let ack = TrustAck {
            spiffe_id: peer.spiffe_id().clone(),
            addresses,
            sequence: ack.acknowledged_sequence.min(published.bundle.sequence()),
            seen_at: now,
            instance,
            serial: peer.serial().to_owned(),
            generation: held.unwrap_or(Generation::NONE),
        };
        let noted = async {
            issuance.store.seen(peer.serial(), now).await?;
            issuance.store.acknowledge(ack).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(error = %with_causes(&error), peer = %peer.spiffe_id(), "an acknowledgement is not recorded");
        }
    }
}
