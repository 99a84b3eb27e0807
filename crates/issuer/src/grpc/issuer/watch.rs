//! The trust stream: the whole bundle at once and after every change; acknowledgements on the way back.
//!
//! The stream ends with OK when the process drains, so that the workload reconnects, here or elsewhere; it also ends
//! when the client leaves. For a workload that stops reading, one message is buffered and no queue builds up: it gets
//! the newest state when it reads again.

use super::{Caller, IssuerService};
use crate::error::IssueError;
use crate::grpc::convert;
use crate::store::TrustAck;
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_spiffe::{Bundle, HostPort, HostPortError, PeerIdentity};
use avouch_text::with_causes;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub(crate) type TrustStream = ReceiverStream<Result<WatchTrustResponse, Status>>;

/// The most addresses kept of one workload: more than any has.
const MAX_ADDRESSES: usize = 16;
/// The most characters of an invalid address that a log line quotes.
const SHOWN: usize = 64;

/// Opens the stream of one workload.
pub(super) fn open(
    service: IssuerService,
    caller: Caller,
    acks: Streaming<WatchTrustRequest>,
) -> TrustStream {
    let (messages, stream) = mpsc::channel(1);
    // Subscribed before the first message is sent, so that no change in between is missed.
    let bundle = service.issuance.trust.subscribe();
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
    // The state at the start counts as news.
    let (mut news, mut listening) = (true, true);
    loop {
        // Unbiased: of the arms that are ready one is taken at random, so that no stream of acknowledgements keeps a change
        // of trust or the end of the stream waiting.
        tokio::select! {
            () = service.drain.cancelled() => return Ok(()),
            () = messages.closed() => return Ok(()),
            room = messages.reserve(), if news => {
                let Ok(room) = room else { return Ok(()) };
                let state = convert::bundle(&bundle.borrow_and_update());
                let issuer_time = Some(service.issuance.clock.now().into());
                room.send(Ok(WatchTrustResponse { bundle: Some(state), issuer_time, trust: Bytes::new() }));
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
    let now = service.issuance.clock.now();
    let (addresses, problem) = addresses(&ack.addresses);
    // A workload depends on its bundle updates, so an invalid address does not end its stream.
    if let Some(problem) = problem {
        service.refusals.addresses(peer.spiffe_id(), &problem);
    }
    let ack = TrustAck {
        spiffe_id: peer.spiffe_id().clone(),
        addresses,
        // A workload cannot use a sequence number that has not been published.
        sequence: ack.acknowledged_sequence.min(service.issuance.trust.current().sequence()),
        seen_at: now,
    };
    let store = &service.issuance.store;
    let noted = async {
        store.seen(peer.serial(), now).await?;
        store.acknowledge(ack).await
    };
    if let Err(error) = noted.await {
        tracing::warn!(error = %with_causes(&error), peer = %peer.spiffe_id(), "an acknowledgement is not recorded");
    }
}

/// The usable addresses among those that a workload advertises, and the error of the first unusable one.
fn addresses(advertised: &[String]) -> (Vec<String>, Option<String>) {
    let mut problem = None;
    let mut usable = Vec::new();
    for (position, text) in advertised.iter().enumerate() {
        let judged = match text.parse::<HostPort>() {
            _ if position >= MAX_ADDRESSES => Err(format!("more than {MAX_ADDRESSES} addresses")),
            Ok(address) => address.usable().map(|()| address).map_err(|error| shown(text, &error)),
            Err(error) => Err(shown(text, &error)),
        };
        match judged {
            // Written from the parsed value, so that no text of the peer's own is passed on to clients and operators.
            Ok(address) => usable.push(address.to_string()),
            Err(wrong) => {
                problem.get_or_insert(wrong);
            }
        }
    }
    (usable, problem)
}

/// The address and its error for a log line; the address is escaped, so that a peer cannot inject text into the log.
fn shown(text: &str, error: &HostPortError) -> String {
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(advertised: &[&str]) -> (Vec<String>, Option<String>) {
        addresses(&advertised.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_where_somebody_could_connect_is_kept() {
        let good = ["127.0.0.1:7001", "orders.market.example:443", "[::1]:80", "market_orders_1:7001"];
        assert_eq!(judged(&good), (good.map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn any_other_is_left_out_and_told() {
        for bad in [
            "",
            "orders",
            ":80",
            "a:0",
            "a:99999",
            "a b:80",
            "a:80\n",
            "<script>:80",
            "::1:7001",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "user@a:80",
        ] {
            let (kept, problem) = judged(&[bad, "orders:1"]);
            assert_eq!(kept, ["orders:1"], "{bad:?}");
            let problem = problem.expect(bad);
            assert!(problem.starts_with(&format!("{bad:?}: ")) && !problem.contains('\n'), "{problem}");
        }
        let (_, problem) = judged(&["::1:7001"]);
        assert!(problem.is_some_and(|problem| problem.contains("write [::1]:7001")));
    }

    #[test]
    fn too_many_or_too_long_ones_are_left_out_and_told() {
        let many: Vec<String> = (1..100).map(|port| format!("a:{port}")).collect();
        let (kept, problem) = addresses(&many);
        assert_eq!((kept.len(), problem.is_some()), (MAX_ADDRESSES, true));
        let long = format!("{}:1", "a".repeat(100_000));
        let (kept, problem) = addresses(&[long]);
        assert!(kept.is_empty() && problem.is_some_and(|problem| problem.len() < 300));
    }
}
