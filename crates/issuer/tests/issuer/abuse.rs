//! Enrolment attempts and recoveries begun by the hundred thousand: they cost the issuer little, spend nothing, fill nothing, and the
//! workloads it knows go on renewing.

use crate::harness::{Held, ORDERS, World, csr, eventually};
use avouch_api::issuer::v1::RenewRequest;
use avouch_attacker::floods::{Peer, frames, machine};
use avouch_attacker::tls::{self, Approach};
use avouch_issuer::store::{CertificateFilter, Page};
use avouch_testkit::log::Log;
use rcgen::KeyPair;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ENROLL: &str = "/avouch.issuer.v1.Issuer/Enroll";
const BEGIN_RECOVERY: &str = "/avouch.issuer.v1.Issuer/BeginRecovery";
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// `EnrollRequest` with a token of 43 characters that nobody gave out, and no CSR: protobuf field 1, a string.
fn attempt() -> Vec<u8> {
    [&[0x0a, 43][..], &[b'A'; 43]].concat()
}

/// Forty connections a second, 2,500 attempts on each, every other one for a nonce of a recovery, most of which the issuer no longer reads: the pace of
/// a flood that does not take the machine's cores itself, which it shares with the issuer here.
fn flood(target: SocketAddr, sent: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut floods = JoinSet::new();
    let call = |stream| match stream % 4 {
        1 => frames::call(stream, ENROLL, &attempt()),
        _ => frames::call(stream, BEGIN_RECOVERY, &[]),
    };
    let attempts = Arc::new(frames::each(2_500, call));
    for _ in 0..4 {
        let (sent, attempts) = (Arc::clone(sent), Arc::clone(&attempts));
        floods.spawn(async move {
            loop {
                let next = tokio::time::Instant::now() + Duration::from_millis(100);
                let mut peer = anonymous(target).await;
                peer.send(&attempts).await;
                // What was written counts, whether or not the connection was still there.
                sent.fetch_add(2_500, Ordering::Relaxed);
                tokio::time::sleep_until(next).await;
            }
        });
    }
    floods
}

async fn anonymous(target: SocketAddr) -> Peer {
    let tcp = tls::socket(target, Some(ELSEWHERE)).await.unwrap();
    Peer::start(tls::handshake(tcp, Approach::showing(None)).await.unwrap()).await
}

/// Renewals in a window by sixteen at once (each waits for the disk), all of which must succeed.
async fn renewals(world: &World, held: &Held, window: Duration) -> u64 {
    let request = csr(&KeyPair::generate().unwrap(), &[]);
    let raw = world.connect(Some(held)).await;
    let end = Instant::now() + window;
    let mut renewing = JoinSet::new();
    for _ in 0..16 {
        let (mut client, csr) = (raw.client.clone(), request.clone());
        renewing.spawn(async move {
            let mut renewed = 0;
            while Instant::now() < end {
                client.renew(RenewRequest { csr: csr.clone(), held: None }).await.unwrap();
                renewed += 1;
            }
            renewed
        });
    }
    renewing.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolment_attempts_by_the_hundred_thousand_spend_nothing_and_stop_no_renewal() {
    let n = |n| std::num::NonZeroU32::new(n).unwrap();
    let world = World::with(|config| {
        config.rate_limits.authenticated_per_second = n(1_000_000);
        config.rate_limits.authenticated_burst = n(1_000_000);
    })
    .await;
    let token = world.invited(ORDERS).await;
    let held = world.enroll(&token).await.unwrap();
    let window = Duration::from_millis(120);
    renewals(&world, &held, window).await;
    let issued = async || {
        world.issuer().store().certificates(CertificateFilter::default(), Page::all()).await.unwrap().len()
            as u64
    };
    let (before, memory) = (issued().await, machine::resident_kib());

    // Renewals are counted per time that other processes left to this one, idle time included; while they are too few,
    // up to three times more windows are added.
    let (sent, mut renewed) = (Arc::new(AtomicU64::new(0)), 0);
    let mut turns = [(0, 0); 2];
    for measurement in 1..=4 {
        let began = sent.load(Ordering::Relaxed);
        for _ in 0..8 {
            for (flooded, (done, time)) in turns.iter_mut().enumerate() {
                let _flood = (flooded == 1).then(|| flood(world.address, &sent));
                let since = machine::available();
                *done += renewals(&world, &held, window).await;
                *time += machine::available() - since;
            }
        }
        let [(quiet, quiet_time), (flooded, flooded_time)] = turns;
        renewed = quiet + flooded;
        let share = (flooded * quiet_time) as f64 / (quiet * flooded_time) as f64;
        let attempts = sent.load(Ordering::Relaxed) - began;
        eprintln!("{attempts} attempts in {:?}: {:.0} % of renewals", window * 8, share * 100.0);
        if share >= machine::least_share() {
            break;
        }
        assert!(measurement < 4, "{share:.2} of renewals are left");
    }
    let grown = machine::resident_kib().saturating_sub(memory);
    eprintln!("{} attempts, {renewed} renewals meanwhile, {grown} KiB more", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) >= 50_000);
    assert_eq!(issued().await, before + renewed, "an attempt left something in the store");
    // What connections are allowed to send, for as many as were made, could not fit in here.
    assert!(grown < 32 * 1024, "{grown} KiB more resident");
    // An honest newcomer from another address is served at once; its token is what it was.
    let token = world.invited("spiffe://market.example/new").await;
    world.enroll(&token).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_attempts_is_a_bounded_number_of_lines_and_hides_nobody_elses() {
    let (log, _guard) = Log::of_thread();
    let world = World::new().await;
    let mut answered = 0;
    while answered < 400 {
        let mut peer = anonymous(world.address).await;
        peer.calls(ENROLL, &attempt(), 16, 16, Duration::ZERO).await;
        eventually("sixteen answers", async || (peer.seen().headers == 16).then_some(())).await;
        answered += 16;
    }
    world.connect(None).await.enroll("x", vec![]).await.unwrap_err();
    let text = log.text();
    let lines = |from: &str, reason: &str| {
        let of = |line: &&str| {
            line.contains("certificate refused") && line.contains(from) && line.contains(reason)
        };
        text.lines().filter(of).count()
    };
    // Sixty of each reason, and one more per ten seconds that the test takes.
    for reason in ["CSR_INVALID", "RATE_LIMITED"] {
        assert!((60..66).contains(&lines("peer_addr=127.0.0.2", reason)), "{reason}: {text}");
    }
    assert_eq!(lines("peer_addr=127.0.0.1", "CSR_INVALID"), 1);
}
