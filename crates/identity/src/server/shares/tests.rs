use std::net::{IpAddr, Ipv4Addr};

use avouch_spiffe::Reason;

use super::*;
use crate::connection_shutdown::Stage;

fn options(connections: usize, each: usize) -> ServerOptions {
    ServerOptions {
        max_connections: connections,
        max_calls: each,
        max_streams: each,
        max_buffered_bytes: each as u64,
        ..ServerOptions::default()
    }
}

fn shares(connections: usize) -> Shares {
    Shares::new(&options(connections, 8))
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://market.example/{name}").parse().unwrap()
}

fn network(last: u8) -> Network {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)).into()
}

#[derive(Debug)]
struct Connection {
    shutdown: Arc<ConnectionShutdown>,
    share: ConnectionShare,
}

impl Connection {
    fn is_asked_to_go(&self) -> bool {
        self.shutdown.stage() >= Stage::Retiring
    }
}

fn open(shares: &Shares, name: &str, from: u8) -> Result<Connection, ShareExceeded> {
    let shutdown = Arc::new(ConnectionShutdown::default());
    let share = shares.open(Some(&id(name)), network(from), &shutdown)?;
    Ok(Connection { shutdown, share })
}

fn fill(shares: &Shares, name: &str, from: u8, count: usize) -> Vec<Connection> {
    (0..count).map(|_| open(shares, name, from).unwrap()).collect()
}

fn asked(connections: &[Connection]) -> usize {
    connections.iter().filter(|it| it.is_asked_to_go()).count()
}

fn used(shares: &Shares, resource: Resource) -> u64 {
    shares.usage(0).into_iter().find(|usage| usage.resource == resource).unwrap().used
}

#[test]
fn one_identity_may_hold_everything_until_somebody_else_comes() {
    let shares = shares(4);
    let flood = fill(&shares, "flood", 1, 4);
    let refused = open(&shares, "flood", 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "4 of 4 connections are in use, and spiffe://market.example/flood holds 4 of them, 4 from 192.0.2.1: the holder of \
         most gets no more until others need less or it gives some back"
    );
    assert_eq!(asked(&flood), 0);
    let honest = open(&shares, "honest", 2).unwrap();
    assert_eq!(flood.iter().map(Connection::is_asked_to_go).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(flood[0].shutdown.cause().unwrap().reason, Reason::HandshakeLimit);
    assert!(!honest.is_asked_to_go());
    assert_eq!(used(&shares, Resource::Connections), 4);
}

#[test]
fn an_idle_connection_goes_before_an_older_one_with_a_call() {
    let shares = shares(3);
    let flood = fill(&shares, "flood", 1, 3);
    flood[0].share.call().unwrap();
    flood[1].share.call().unwrap();
    let _honest = open(&shares, "honest", 2).unwrap();
    assert_eq!(flood.iter().map(Connection::is_asked_to_go).collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn without_an_idle_one_the_oldest_goes() {
    let shares = shares(3);
    let flood = fill(&shares, "flood", 1, 3);
    for connection in &flood {
        connection.share.call().unwrap();
        connection.share.stream().unwrap();
    }
    let _honest = open(&shares, "honest", 2).unwrap();
    assert_eq!(flood.iter().map(Connection::is_asked_to_go).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn of_replicas_of_one_identity_the_network_with_most_gives_way() {
    let shares = shares(16);
    let leaking = fill(&shares, "orders", 1, 8);
    let replicas: Vec<_> = (2..10).map(|from| open(&shares, "orders", from).unwrap()).collect();
    assert!(open(&shares, "orders", 1).is_err());
    let newcomers: Vec<_> = (10..14).map(|from| open(&shares, "orders", from).unwrap()).collect();
    assert_eq!((asked(&leaking), asked(&replicas), asked(&newcomers)), (4, 0, 0));
}

#[test]
fn a_flood_of_one_identity_displaces_nobody_else() {
    let shares = shares(8);
    let honest: Vec<_> = (0..4).map(|n| open(&shares, &format!("honest-{n}"), n).unwrap()).collect();
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        flood.extend(open(&shares, "flood", 9).ok());
    }
    assert_eq!((asked(&honest), flood.len()), (0, 4));
    assert_eq!(shares.usage(1)[0].refused, 996);
}

#[test]
fn two_that_hold_the_same_do_not_push_each_other_out() {
    let shares = shares(4);
    let (a, b) = (fill(&shares, "a", 1, 2), fill(&shares, "b", 2, 2));
    assert!(open(&shares, "a", 1).is_err() && open(&shares, "b", 2).is_err());
    assert_eq!((asked(&a), asked(&b)), (0, 0));
}

#[test]
fn who_leaves_makes_room_and_nothing_is_kept_of_them() {
    let shares = shares(2);
    for round in 0..100 {
        let connections = fill(&shares, &format!("caller-{round}"), 1, 2);
        connections[0].share.call().unwrap();
        connections[0].share.call_ended();
        assert!(connections[0].share.is_idle());
    }
    let displaced = fill(&shares, "flood", 1, 2);
    let newcomer = open(&shares, "honest", 2).unwrap();
    drop((displaced, newcomer));
    assert_eq!(used(&shares, Resource::Connections), 0);
    assert!(shares.usage(10).iter().all(|usage| usage.holders.is_empty()));
    assert!(shares.0.table().is_empty());
}

#[test]
fn calls_beyond_the_whole_are_refused_to_the_top_holder_and_allowed_to_others_up_to_twice_of_it() {
    let shares = shares(100);
    let (flood, honest) = (open(&shares, "flood", 1).unwrap(), open(&shares, "honest", 2).unwrap());
    for _ in 0..8 {
        flood.share.call().unwrap();
    }
    assert!(flood.share.call().is_err());
    // As long as it holds less than the top holder.
    let allowed = (0..20).take_while(|_| honest.share.call().is_ok()).count();
    assert_eq!(allowed, 7);
    assert_eq!(used(&shares, Resource::Calls), 15);
    for _ in 0..8 {
        flood.share.call_ended();
    }
    flood.share.call().unwrap();
    assert_eq!(used(&shares, Resource::Calls), 8);
}

#[test]
fn calls_of_many_holders_end_at_twice_the_whole() {
    let shares = shares(100);
    let flood = open(&shares, "flood", 1).unwrap();
    for _ in 0..8 {
        flood.share.call().unwrap();
    }
    let others: Vec<_> = (0..30).map(|n| open(&shares, &format!("other-{n}"), n).unwrap()).collect();
    let allowed = others.iter().filter(|other| other.share.call().is_ok()).count();
    assert_eq!(allowed, 8);
}

#[test]
fn streams_and_bytes_are_counted_apart_from_calls() {
    let shares = shares(100);
    let caller = open(&shares, "caller", 1).unwrap();
    for _ in 0..8 {
        caller.share.call().unwrap();
        caller.share.stream().unwrap();
    }
    caller.share.call().unwrap();
    assert!(caller.share.stream().is_err(), "it stays a call");
    assert_eq!((used(&shares, Resource::Calls), used(&shares, Resource::Streams)), (1, 8));
    caller.share.hold(8).unwrap();
    let refused = caller.share.hold(1).unwrap_err().to_string();
    assert!(refused.starts_with("8 of 8 buffered bytes are in use"), "{refused}");
    caller.share.release(8);
    caller.share.stream_ended();
    caller.share.call_ended();
    assert_eq!((used(&shares, Resource::Bytes), used(&shares, Resource::Streams)), (0, 7));
}

#[test]
fn a_connection_that_made_room_still_counts_what_it_holds() {
    let shares = shares(2);
    let flood = fill(&shares, "flood", 1, 2);
    for connection in &flood {
        connection.share.call().unwrap();
    }
    let _honest = open(&shares, "honest", 2).unwrap();
    let holders = |resource: Resource| {
        let usage = shares.usage(10).into_iter().find(|usage| usage.resource == resource).unwrap();
        usage.holders.into_iter().map(|it| (it.spiffe_id.unwrap().to_string(), it.held)).collect::<Vec<_>>()
    };
    assert_eq!(holders(Resource::Calls), [("spiffe://market.example/flood".to_owned(), 2)]);
    assert_eq!(holders(Resource::Connections).len(), 2);
}

#[test]
fn when_many_have_lost_their_place_and_are_not_gone_the_next_one_goes_at_once() {
    let shares = Shares::new(&options(40, 64));
    let flood = fill(&shares, "flood", 1, 40);
    for connection in &flood {
        connection.share.call().unwrap();
    }
    let cut = |flood: &[Connection]| flood.iter().filter(|it| it.shutdown.stage() == Stage::Cut).count();
    let mut others: Vec<_> = (0..16).map(|n| open(&shares, &format!("other-{n}"), 2).unwrap()).collect();
    assert_eq!((asked(&flood), cut(&flood)), (16, 0));
    others.push(open(&shares, "one-more", 2).unwrap());
    assert_eq!((asked(&flood), cut(&flood)), (17, 1));
    drop(flood);
    assert_eq!(shares.0.leaving.load(Ordering::Relaxed), 0);
}

#[test]
fn when_descriptors_run_out_the_top_holder_gives_one_back() {
    let shares = shares(100);
    assert_eq!(shares.make_room(), None);
    let (flood, honest) = (fill(&shares, "flood", 1, 3), open(&shares, "honest", 2).unwrap());
    assert_eq!(shares.make_room(), Some(network(1)));
    assert_eq!((asked(&flood), honest.is_asked_to_go()), (1, false));
}

#[test]
fn who_comes_without_an_identity_is_a_holder_like_others() {
    let shares = shares(2);
    let shutdown = Arc::new(ConnectionShutdown::default());
    let first = shares.open(None, network(1), &shutdown).unwrap();
    let _second = shares.open(None, network(1), &Arc::default()).unwrap();
    let refused = shares.open(None, network(1), &Arc::default()).unwrap_err();
    assert!(refused.to_string().contains("callers without identity hold 2 of them"), "{refused}");
    let _honest = open(&shares, "honest", 2).unwrap();
    assert_eq!(shutdown.stage(), Stage::Retiring);
    drop(first);
}
