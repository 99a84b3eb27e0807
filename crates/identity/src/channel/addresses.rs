//! The addresses of a name, and which of them failed lately.
//!
//! Replicas behind one name have several. An address is good once a server behind it has proven its identity and spoken
//! HTTP/2. One that was not is tried after all others for a while; if none is good, each has its turn.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avouch_spiffe::{HostPort, Reason};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::attempt::{ConnectAttempt, OurSide};
use super::failure::ConnectFailure;
use super::progress::Step;

/// The most addresses of a name that are looked at.
const MOST_RESOLVED: usize = 1024;
/// The time for which an address is tried last after its first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The time for which a failure is remembered after that: for the next pause, and so that a warning is not repeated.
const MEMORY: Duration = Duration::from_secs(600);
/// The most addresses that are remembered: a name with more has enough that are good.
const MOST_REMEMBERED: usize = 64;
/// The most of them that a message names.
const MOST_NAMED: usize = 4;

/// The addresses of `host`.
pub(super) async fn resolve(
    address: &HostPort,
    until: Instant,
    ours: &Arc<OurSide>,
) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let unresolved = |reason, detail: String| {
        let nowhere = Arc::new(ConnectAttempt::new(ours.clone(), None));
        Err(nowhere.failure(Step::Resolve, reason, detail))
    };
    let host = address.host();
    match timeout_at(until, lookup_host((host, address.port()))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in found.take(MOST_RESOLVED) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Ok(Err(error)) => {
            let detail = format!("cannot connect: {host} has no address: {error}");
            unresolved(Reason::PeerConnectionClosed, detail)
        }
        Err(_elapsed) => {
            let detail = format!("cannot connect: the resolver did not answer for {host}");
            unresolved(Reason::HandshakeTimeout, detail)
        }
    }
}

/// The failure of a name that has no address.
pub(super) fn no_address(ours: &Arc<OurSide>) -> ConnectFailure {
    let nowhere = Arc::new(ConnectAttempt::new(ours.clone(), None));
    nowhere.failure(Step::Resolve, Reason::PeerConnectionClosed, "cannot connect: the name has no address")
}

/// A failed address, and what is remembered of it.
#[derive(Debug)]
struct Bad {
    address: SocketAddr,
    /// The time until which it is tried last.
    until: Instant,
    pause: Duration,
    /// The failure in words, for messages.
    said: String,
    warned: Option<Instant>,
}

/// The addresses of one server that failed lately.
#[derive(Debug, Default)]
pub(crate) struct BadAddresses(Mutex<Vec<Bad>>);

impl BadAddresses {
    fn lock(&self) -> MutexGuard<'_, Vec<Bad>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an address by what happened there.
    pub(super) fn remember(&self, failure: &ConnectFailure) {
        if let Some(address) = failure.attempt.tried {
            self.failed(address, failure.by_address(None));
        }
    }

    /// Remembers that an address has failed, with the failure in words.
    pub(super) fn failed(&self, address: SocketAddr, said: String) {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|bad| now < bad.until + MEMORY);
        if let Some(bad) = all.iter_mut().find(|bad| bad.address == address) {
            // Once for each pause: where no address is good, one is tried more often than that.
            if bad.until <= now {
                bad.pause = (bad.pause * 2).min(LONGEST_PAUSE);
            }
            (bad.until, bad.said) = (now + bad.pause, said);
            return;
        }
        if all.len() >= MOST_REMEMBERED
            && let Some(oldest) = (0..all.len()).min_by_key(|at| all.get(*at).map(|bad| bad.until))
        {
            all.swap_remove(oldest);
        }
        all.push(Bad { address, until: now + FIRST_PAUSE, pause: FIRST_PAUSE, said, warned: None });
    }

    /// Forgets an address that is good.
    pub(super) fn good(&self, address: SocketAddr) {
        self.lock().retain(|bad| bad.address != address);
    }

    /// The order in which addresses are tried: the resolver's, with those that failed last, the longest ago first.
    pub(super) fn order(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let now = Instant::now();
        let all = self.lock();
        // A stable sort; `None` comes first.
        addresses.sort_by_key(|address| {
            all.iter().find(|bad| bad.address == *address && now < bad.until).map(|bad| bad.until)
        });
        addresses
    }

    /// Whether to warn of an impostor at an address now: once for as long as it is remembered.
    pub(super) fn warns(&self, address: SocketAddr) -> bool {
        let now = Instant::now();
        let mut all = self.lock();
        let Some(bad) = all.iter_mut().find(|bad| bad.address == address) else { return false };
        let due = bad.warned.is_none_or(|warned| now >= warned + MEMORY);
        if due {
            bad.warned = Some(now);
        }
        due
    }

    /// The failures at the addresses that are not good at this moment, for a message.
    pub(super) fn said(&self) -> Option<String> {
        let now = Instant::now();
        let all = self.lock();
        let mut bad: Vec<_> = all.iter().filter(|bad| now < bad.until).collect();
        // The latest are the most telling.
        bad.sort_by_key(|bad| std::cmp::Reverse(bad.until));
        let unnamed = bad.len().saturating_sub(MOST_NAMED);
        let named: Vec<_> = bad.into_iter().take(MOST_NAMED).map(|bad| bad.said.as_str()).collect();
        let more = if unnamed > 0 { format!("; and {unnamed} more addresses") } else { String::new() };
        (!named.is_empty()).then(|| format!("{}{more}", named.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 7001))
    }

    fn failed(all: &BadAddresses, last: u8) {
        all.failed(address(last), format!("{}: no good", address(last)));
    }

    fn order(all: &BadAddresses) -> Vec<u8> {
        let ordered = all.order(vec![address(1), address(2), address(3)]);
        ordered.iter().map(|address| address.to_string().as_bytes()[8] - b'0').collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_no_good_is_tried_last_for_a_while_and_never_left_out() {
        let all = BadAddresses::default();
        failed(&all, 1);
        assert_eq!(order(&all), [2, 3, 1]);
        tokio::time::advance(Duration::from_secs(1)).await;
        failed(&all, 2);
        failed(&all, 3);
        assert_eq!(order(&all), [1, 2, 3], "none is good: the one whose turn is longest ago");
        all.good(address(2));
        assert_eq!(order(&all), [2, 1, 3]);
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(order(&all), [1, 2, 3], "their time is over");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_with_every_turn_up_to_a_minute_and_one_good_answer_ends_it() {
        let all = BadAddresses::default();
        for pause in [5, 10, 20, 40, 60, 60] {
            failed(&all, 1);
            // Again within the pause, as where no address is good.
            failed(&all, 1);
            tokio::time::advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert_eq!(order(&all), [2, 3, 1], "{pause} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(order(&all), [1, 2, 3], "{pause} s");
        }
        failed(&all, 1);
        all.good(address(1));
        failed(&all, 1);
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(order(&all), [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_answers_with_ever_new_addresses_fills_no_memory_and_no_message() {
        let all = BadAddresses::default();
        for number in 0..=u16::MAX {
            let [high, low] = number.to_be_bytes();
            let address = SocketAddr::from(([127, 1, high, low], 1));
            all.failed(address, format!("{address}: no good"));
        }
        assert_eq!(all.lock().len(), MOST_REMEMBERED);
        let said = all.said().unwrap();
        assert!(said.contains("and 60 more addresses") && said.len() < 200, "{said}");
        tokio::time::advance(LONGEST_PAUSE + MEMORY).await;
        assert_eq!(all.said(), None);
        failed(&all, 1);
        assert_eq!(all.lock().len(), 1, "the others are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn an_impostor_is_warned_of_once_for_as_long_as_it_is_remembered() {
        let all = BadAddresses::default();
        assert!(!all.warns(address(1)), "nothing is known of it");
        failed(&all, 1);
        assert!(all.warns(address(1)) && !all.warns(address(1)));
        tokio::time::advance(LONGEST_PAUSE).await;
        failed(&all, 1);
        assert!(!all.warns(address(1)));
        tokio::time::advance(MEMORY).await;
        failed(&all, 1);
        assert!(all.warns(address(1)), "it is still there");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_said_to_have_none() {
        let ours = super::super::race::tests::ours();
        let until = Instant::now() + Duration::from_secs(30);
        let failure = resolve(&"no-such-host.invalid:1".parse().unwrap(), until, &ours).await.unwrap_err();
        assert_eq!((failure.step, failure.reason), (Step::Resolve, Reason::PeerConnectionClosed));
        let message = failure.to_status().message().to_owned();
        assert!(message.contains("cannot connect: no-such-host.invalid has no address"), "{message}");
    }
}
