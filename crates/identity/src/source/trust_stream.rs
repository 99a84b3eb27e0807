//! The client of the issuer's trust stream: bundles down, acknowledgements up.

use std::time::Duration;

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_spiffe::BundleSet;
use avouch_text::with_causes;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::context::SourceContext;
use super::error::IdentityError;
use super::event::IdentityEvent;
use super::issuer_connection::parse_bundle;
use super::state::State;
use crate::channel::Channel;
use crate::identity::Publisher;
use crate::jitter;

/// The pause before a stream that brought nothing is opened again; it doubles each time. One that brought something
/// begins with the first pause again, since streams end with their connections all the time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest pause: the time by which a workload that lost its stream may learn of a new root late.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);

/// The trust stream of one identity.
pub(super) struct TrustStream<'a> {
    pub(super) channel: &'a Channel,
    pub(super) addresses: watch::Receiver<Vec<String>>,
    pub(super) publisher: &'a Publisher,
    pub(super) state: &'a State,
    pub(super) context: &'a SourceContext,
}

impl TrustStream<'_> {
    /// Follows the stream, and opens it again when it ends.
    pub(super) async fn follow(&self) {
        self.context.tell(&IdentityEvent::TrustStream { up: false });
        let mut backoff = FIRST_BACKOFF;
        loop {
            let mut received = 0;
            if let Err(status) = self.once(&mut received).await {
                tracing::debug!(
                    code = ?status.code(),
                    message = status.message(),
                    "the trust stream is interrupted; the bundle in use stays"
                );
            }
            // Connections retire all the time; only a stream that brought nothing was a failure.
            if received > 0 {
                self.context.tell(&IdentityEvent::TrustStream { up: false });
                backoff = FIRST_BACKOFF;
            }
            tokio::time::sleep(jitter::around(backoff, 0.3)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Follows one stream to its end, counting the states it brings.
    async fn once(&self, received: &mut u64) -> Result<(), tonic::Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let mut addresses = self.addresses.clone();
        // Changes count from here on: the acknowledgement below is made of the latest addresses.
        addresses.mark_unchanged();
        // The receiver is ours and has room.
        let _ = answers.send(self.acknowledgement()).await;
        let mut client = IssuerClient::new(self.channel.clone());
        let mut stream = client.watch_trust(ReceiverStream::new(outgoing)).await?.into_inner();
        loop {
            // The order does not matter: a bundle and new addresses are both acknowledged by what is in use then.
            let message = tokio::select! {
                message = stream.message() => message?,
                changed = addresses.changed() => {
                    if changed.is_err() || answers.send(self.acknowledgement()).await.is_err() {
                        break;
                    }
                    continue;
                }
            };
            let Some(message) = message else { break };
            *received += 1;
            if *received == 1 {
                self.context.tell(&IdentityEvent::TrustStream { up: true });
            }
            self.context.issuer_time(message.issuer_time.and_then(|time| time.try_into().ok()));
            if let Err(error) = apply(&message, self.publisher, self.state) {
                tracing::warn!(%error, "the trust stream brought something unusable; the bundle in use stays");
                continue;
            }
            if answers.send(self.acknowledgement()).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The acknowledgement of what is in use; the first one opens the stream.
    fn acknowledgement(&self) -> WatchTrustRequest {
        WatchTrustRequest {
            acknowledged_sequence: sequence_in_use(self.publisher),
            addresses: self.addresses.borrow().clone(),
            ..WatchTrustRequest::default()
        }
    }
}

fn sequence_in_use(publisher: &Publisher) -> u64 {
    let snapshot = publisher.current();
    let domain = snapshot.svid.spiffe_id().trust_domain();
    snapshot.trust.bundles().get(domain).map_or(0, |bundle| bundle.sequence())
}

fn apply(message: &WatchTrustResponse, publisher: &Publisher, state: &State) -> Result<(), IdentityError> {
    let snapshot = publisher.current();
    let domain = snapshot.svid.spiffe_id().trust_domain();
    let bundle =
        message.bundle.as_ref().ok_or_else(|| IdentityError::Answer("it carries no bundle".to_owned()))?;
    let bundle = parse_bundle(bundle, domain)?;
    if bundle.sequence() <= sequence_in_use(publisher) {
        return Ok(());
    }
    tracing::info!(sequence = bundle.sequence(), roots = bundle.authorities().len(), "trust bundle updated");
    if let Err(error) = state.store_bundle(&bundle) {
        tracing::error!(error = %with_causes(&error), "the bundle is in use but not on disk");
    }
    let mut bundles = BundleSet::default();
    bundles.insert(bundle);
    publisher.update(bundles);
    Ok(())
}
