//! The trust stream.

use crate::harness::{ORDERS, Raw, World, eventually, reason};
use avouch_api::issuer::v1::{WatchTrustRequest, WatchTrustResponse};
use avouch_issuer::store::TrustAck;
use avouch_spiffe::Reason;
use avouch_spiffe::x509::Authority;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

struct Watching {
    acks: mpsc::Sender<WatchTrustRequest>,
    states: Streaming<WatchTrustResponse>,
}

impl Watching {
    async fn open(raw: &mut Raw) -> Result<Self, Status> {
        let (acks, outgoing) = mpsc::channel(4);
        let states = raw.client.watch_trust(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { acks, states })
    }

    async fn next(&mut self) -> Option<u64> {
        let message = tokio::time::timeout(Duration::from_secs(5), self.states.message()).await;
        message.expect("a message or the end").unwrap().map(|message| message.bundle.unwrap().sequence)
    }

    async fn acknowledge(&self, sequence: u64, address: &str) {
        let ack = WatchTrustRequest {
            acknowledged_sequence: sequence,
            addresses: vec![address.to_owned()],
            ..WatchTrustRequest::default()
        };
        self.acks.send(ack).await.unwrap();
    }
}

/// A second root, from another issuer of the same trust domain.
async fn another_root() -> Authority {
    World::new().await.issuer().trust().current().authorities()[0].clone()
}

#[tokio::test]
async fn the_whole_state_comes_at_once_and_after_every_change() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut watching = Watching::open(&mut world.connect(Some(&held)).await).await.unwrap();
    assert_eq!(watching.next().await, Some(1));
    let mut roots = world.issuer().trust().current().authorities().to_vec();
    roots.push(another_root().await);
    world.issuer().trust().publish(roots).await.unwrap();
    assert_eq!(watching.next().await, Some(2));
    let second = Watching::open(&mut world.connect(Some(&held)).await).await.unwrap().next().await;
    assert_eq!(second, Some(2));
}

#[tokio::test]
async fn acknowledgements_are_recorded_by_identity_and_address_and_never_ahead_of_the_truth() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut watching = Watching::open(&mut world.connect(Some(&held)).await).await.unwrap();
    watching.acknowledge(0, "orders.market.example:7001").await;
    watching.next().await;
    watching.acknowledge(77, "orders.market.example:7001").await;
    watching.acknowledge(1, "nonsense").await;
    let acks = eventually("two acknowledgements", async || {
        let acks = world.issuer().store().acknowledgements(avouch_issuer::store::Page::all()).await.unwrap();
        (acks.len() == 2 && acks.iter().all(|ack| ack.sequence == 1)).then_some(acks)
    })
    .await;
    let addresses: Vec<_> = acks.iter().map(|TrustAck { addresses, .. }| addresses.join(",")).collect();
    assert_eq!(addresses, ["orders.market.example:7001", ""]);
    assert!(acks.iter().all(|ack| ack.spiffe_id.as_str() == ORDERS));
    let row = world.issuer().store().certificate(&held.serial()).await.unwrap().unwrap();
    assert!(row.last_seen.is_some());
}

#[tokio::test]
async fn it_ends_without_an_error_when_the_issuer_drains() {
    let mut world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut watching = Watching::open(&mut world.connect(Some(&held)).await).await.unwrap();
    assert_eq!(watching.next().await, Some(1));
    let stopping = async { world.stop().await };
    let ending = async { assert_eq!(watching.next().await, None) };
    tokio::join!(stopping, ending);
}

#[tokio::test]
async fn it_needs_an_identity() {
    let world = World::new().await;
    let refused = Watching::open(&mut world.connect(None).await).await;
    assert_eq!(reason(refused), Some(Reason::NoPeerIdentity));
}

#[tokio::test]
async fn a_client_that_stops_sending_still_hears() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let Watching { acks, mut states } = Watching::open(&mut world.connect(Some(&held)).await).await.unwrap();
    drop(acks);
    assert!(states.message().await.unwrap().is_some());
    world.issuer().trust().publish(vec![another_root().await]).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(5), states.message()).await.unwrap();
    assert_eq!(next.unwrap().unwrap().bundle.unwrap().sequence, 2);
}
