//! `WatchAcknowledgements`: who uses a generation, and who does not, until everybody does.
//!
//! What processes with a stream say is told within [`PAUSE`]; what only the store knows (processes that have gone, and
//! certificates) is read again each second.

use crate::acknowledgements::{Acknowledgements, Recorded, WorkloadProcess, judge};
use crate::issuance::Issuance;
use avouch_api::admin::v1 as admin;
use avouch_spiffe::Generation;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(super) type AcknowledgementStream = ReceiverStream<Result<admin::WatchAcknowledgementsResponse, Status>>;

/// The time for which changes are collected: a thousand acknowledgements come within it, and nobody reads faster.
const PAUSE: Duration = Duration::from_millis(50);
/// The time between two looks at the store.
const LOOK: Duration = Duration::from_secs(1);

/// Opens the stream. Without a generation it asks for the one that is published.
pub(super) fn watch(
    issuance: Arc<Issuance>,
    drain: CancellationToken,
    request: admin::WatchAcknowledgementsRequest,
) -> AcknowledgementStream {
    let (messages, stream) = mpsc::channel(1);
    let asked = Generation { epoch: request.epoch, counter: request.counter };
    let generation = if asked == Generation::NONE { issuance.trust.published().generation() } else { asked };
    tokio::spawn(async move {
        tokio::select! {
            // The order does not matter: all of them end the stream.
            () = drain.cancelled() => {}
            () = messages.closed() => {}
            () = tell(&issuance, generation, &messages) => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn tell(
    issuance: &Issuance,
    generation: Generation,
    messages: &mpsc::Sender<Result<admin::WatchAcknowledgementsResponse, Status>>,
) {
    let mut changes = issuance.trust.subscribers().changes();
    let mut told = Told::default();
    loop {
        let recorded = match Recorded::read(issuance).await {
            Ok(recorded) => recorded,
            Err(error) => {
                let _ = messages.send(Err(super::unavailable(&error))).await; // the caller may be gone
                return;
            }
        };
        let look_again = Instant::now() + LOOK;
        loop {
            changes.mark_unchanged();
            let (published, subscribers) = (issuance.trust.published(), issuance.trust.subscribers().list());
            let message = told.news(judge(generation, &published, &subscribers, &recorded));
            if let Some(message) = message {
                let complete = message.complete;
                if messages.send(Ok(message)).await.is_err() || complete {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                // The order does not matter: both lead to another judgement.
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(look_again) => break,
            }
        }
    }
}

/// What the caller has been told.
#[derive(Default)]
struct Told {
    acknowledged: HashSet<(String, Option<[u8; 16]>, Vec<String>)>,
    waiting: Option<Vec<WorkloadProcess>>,
}

impl Told {
    /// The next message, if there is anything new.
    fn news(&mut self, now: Acknowledgements) -> Option<admin::WatchAcknowledgementsResponse> {
        let Acknowledgements { acknowledged, lagging } = now;
        let key = |process: &WorkloadProcess| match process.instance {
            // A process stays the same when it renews its certificate.
            Some(_) => (process.spiffe_id.to_string(), process.instance, Vec::new()),
            None => (process.serial.clone(), None, process.addresses.clone()),
        };
        let fresh = acknowledged.into_iter().filter(|process| self.acknowledged.insert(key(process)));
        let acknowledged: Vec<_> = fresh.map(acknowledgement).collect();
        let complete = lagging.is_empty();
        let mut waiting = Vec::new();
        if self.waiting.as_ref() != Some(&lagging) {
            waiting = lagging.iter().cloned().map(acknowledgement).collect();
            self.waiting = Some(lagging);
        } else if acknowledged.is_empty() {
            return None;
        }
        Some(admin::WatchAcknowledgementsResponse { acknowledged, waiting, complete })
    }
}

fn acknowledgement(process: WorkloadProcess) -> admin::Acknowledgement {
    admin::Acknowledgement {
        spiffe_id: process.spiffe_id.to_string(),
        serial: process.serial,
        addresses: process.addresses,
        at: process.at.map(Into::into),
        not_after: Some(process.not_after.into()),
        state: process.contact.as_str().to_owned(),
        connections_ended: process.connections_ended,
    }
}
