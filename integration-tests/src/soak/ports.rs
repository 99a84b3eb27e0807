//! Ports of processes that are killed and started again: each keeps its own through all of its lives.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::schedule::Random;
use avouch_demo::setup::SetupError;

/// Where ports are chosen: below those that the system hands out, since a dead process must find its port free again.
const RANGE: std::ops::Range<u64> = 20_000..32_000;

/// How often a port is drawn before the range counts as full.
const ATTEMPTS: u32 = 1_000;

/// Ports that nobody listens on when they are chosen, each of them given once.
pub(super) struct Ports {
    random: Random,
    given: BTreeSet<u16>,
}

impl Ports {
    pub(super) fn new(random: Random) -> Self {
        Self { random, given: BTreeSet::new() }
    }

    /// A port of 127.0.0.1. Those given before are not tried again: their processes may not listen yet.
    pub(super) fn choose(&mut self) -> Result<u16, SetupError> {
        for _ in 0..ATTEMPTS {
            let drawn = RANGE.start + self.random.below(RANGE.end - RANGE.start);
            let Ok(port) = u16::try_from(drawn) else { continue };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && self.given.insert(port) {
                return Ok(port);
            }
        }
        Err(SetupError::Other(format!("no port of {RANGE:?} is free on 127.0.0.1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = Ports::new(Random::new(7));
        let given: BTreeSet<u16> = (0..200).map(|_| ports.choose().unwrap()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|port| RANGE.contains(&u64::from(*port))));
    }

    #[test]
    fn a_port_with_a_listener_is_not_given() {
        let first = Ports::new(Random::new(9)).choose().unwrap();
        let _taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert_ne!(Ports::new(Random::new(9)).choose().unwrap(), first);
    }
}
