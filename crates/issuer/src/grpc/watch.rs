//! The trust stream: the whole bundle at once and after every change; acknowledgements on the way back.
//!
//! Ends without an error when the process drains, so that the workload connects elsewhere or again; ends when the client
//! goes. A workload that stops reading holds one message, not a queue: it gets the newest state when it reads again.

use super::convert;
use super::issuer::{Caller, IssuerService};
use crate::error::{IssueError, chain};
use crate::store::TrustAck;
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_spiffe::{Bundle, PeerIdentity};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub(crate) type TrustStream = ReceiverStream<Result<WatchTrustResponse, Status>>;

/// More addresses than a workload has, and longer than a host and port can be.
const MAX_ADDRESSES: usize = 16;
const MAX_ADDRESS: usize = 262;

/// Opens the stream of one workload.
pub(super) fn open(
    service: IssuerService,
    caller: Caller,
    acks: Streaming<WatchTrustRequest>,
) -> TrustStream {
    let (messages, stream) = mpsc::channel(1);
    // Subscribed before the first message: no change falls between.
    let bundle = service.issuing.trust.subscribe();
    tokio::spawn(async move {
        if let Err(error) = follow(&service, &caller, bundle, acks, &messages).await {
            let status = service.refuse("watch-trust", &caller, &error);
            let _ = messages.send(Err(status)).await; // the client may be gone
        }
    });
    ReceiverStream::new(stream)
}

async fn follow(
    service: &IssuerService,
    caller: &Caller,
    mut bundle: watch::Receiver<Arc<Bundle>>,
    mut acks: Streaming<WatchTrustRequest>,
    messages: &mpsc::Sender<Result<WatchTrustResponse, Status>>,
) -> Result<(), IssueError> {
    let peer = caller.peer()?;
    let (mut news, mut listening) = (true, true); // the state there is counts as news
    loop {
        tokio::select! {
            () = service.drain.cancelled() => return Ok(()),
            () = messages.closed() => return Ok(()),
            room = messages.reserve(), if news => {
                let Ok(room) = room else { return Ok(()) };
                let state = convert::bundle(&bundle.borrow_and_update());
                let issuer_time = Some(service.issuing.clock.now().into());
                room.send(Ok(WatchTrustResponse { bundle: Some(state), issuer_time }));
                news = false;
            }
            changed = bundle.changed(), if !news => match changed {
                Ok(()) => news = true,
                Err(_) => return Ok(()), // the issuer is gone
            },
            ack = acks.message(), if listening => match ack {
                Ok(Some(ack)) => {
                    service.limit_by_identity(caller)?;
                    note(service, peer, ack).await;
                }
                Ok(None) => listening = false,
                Err(_) => return Ok(()), // the connection is gone, or the client is no client
            },
        }
    }
}

async fn note(service: &IssuerService, peer: &PeerIdentity, ack: WatchTrustRequest) {
    let now = service.issuing.clock.now();
    let ack = TrustAck {
        spiffe_id: peer.spiffe_id().clone(),
        addresses: addresses(ack.addresses),
        // Nobody uses what has not been published.
        sequence: ack.acknowledged_sequence.min(service.issuing.trust.current().sequence()),
        seen_at: now,
    };
    let store = &service.issuing.store;
    let noted = async {
        store.seen(peer.serial(), now).await?;
        store.acknowledge(ack).await
    };
    if let Err(error) = noted.await {
        tracing::warn!(error = chain(&error), peer = %peer.spiffe_id(), "an acknowledgement is not recorded");
    }
}

/// Those that can be a host and a port.
fn addresses(advertised: Vec<String>) -> Vec<String> {
    let plausible = |address: &String| {
        address.len() <= MAX_ADDRESS
            && address.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c))
            && address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
    };
    advertised.into_iter().filter(plausible).take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_an_address_is_kept() {
        let advertised = ["127.0.0.1:7001", "orders.market.example:443", "[::1]:80"];
        let nonsense = ["", "orders", ":80", "a:0", "a:99999", "a b:80", "a:80\n", "<script>:80"];
        let all = advertised.iter().chain(&nonsense).map(|text| (*text).to_owned()).collect();
        assert_eq!(addresses(all), advertised);
        let many = (1..100).map(|port| format!("a:{port}")).collect();
        assert_eq!(addresses(many).len(), MAX_ADDRESSES);
        assert!(addresses(vec![format!("{}:1", "a".repeat(300))]).is_empty());
    }
}
