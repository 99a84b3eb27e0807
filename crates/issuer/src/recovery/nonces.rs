//! The nonces handed out by BeginRecovery: each is valid once, for a short time, on the connection that asked for it,
//! and a connection has a bounded number of them.
//!
//! They are kept in their connection ([`ConnectionInfo::slot`]) and end with it. There is no shared table that
//! unauthenticated peers could fill: each connection has room of its own, and connections are bounded and shared out by
//! network where they are accepted. A presented nonce is spent even if the recovery fails.

use avouch_identity::ConnectionInfo;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// 32 random bytes.
pub(crate) type Nonce = [u8; 32];

/// The lifetime of a nonce: a round trip and a signature take far less.
const LIFE: Duration = Duration::from_secs(60);
/// Outstanding nonces of one connection.
const PER_CONNECTION: usize = 4;

/// A nonce that cannot be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// The connection has enough of them.
    #[error("the connection has {PER_CONNECTION} unused nonces already")]
    TooManyOnConnection,
    /// The system's random generator failed.
    #[error("no random bytes are to be had")]
    NoRandomness,
}

/// The outstanding nonces of one connection.
#[derive(Default)]
struct Nonces(Mutex<[Option<Pending>; PER_CONNECTION]>);

#[derive(Clone, Copy)]
struct Pending {
    nonce: Nonce,
    until: Instant,
}

/// A fresh nonce for a connection.
pub(crate) fn issue(connection: &ConnectionInfo) -> Result<Nonce, NonceError> {
    let nonces = connection.extensions.get_or_put(|| Arc::new(Nonces::default()));
    // The downcast does not fail: the slot was made for this type.
    nonces.downcast_ref().map_or(Err(NonceError::TooManyOnConnection), Nonces::issue)
}

/// Spends a nonce. `false`: it is unknown, spent, too old, or another connection's.
pub(crate) fn spend(nonce: &[u8], connection: &ConnectionInfo) -> bool {
    connection.extensions.get::<Nonces>().is_some_and(|nonces| nonces.spend(nonce))
}

impl Nonces {
    fn issue(&self) -> Result<Nonce, NonceError> {
        let nonce = crate::random::bytes().map_err(|_| NonceError::NoRandomness)?;
        let now = Instant::now();
        let mut pending = self.lock();
        let room = pending.iter_mut().find(|place| place.is_none_or(|pending| pending.until <= now));
        *room.ok_or(NonceError::TooManyOnConnection)? = Some(Pending { nonce, until: now + LIFE });
        Ok(nonce)
    }

    fn spend(&self, nonce: &[u8]) -> bool {
        let mut pending = self.lock();
        // Compared byte by byte: the connection has been told all of them, so the time it takes tells nobody anything.
        let place = pending.iter_mut().find(|place| place.is_some_and(|pending| pending.nonce == nonce));
        place.and_then(Option::take).is_some_and(|pending| pending.until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Pending>; PER_CONNECTION]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_nonce_serves_once_on_its_own_connection() {
        let (nonces, other) = (Nonces::default(), Nonces::default());
        let nonce = nonces.issue().unwrap();
        other.issue().unwrap();
        assert!(!other.spend(&nonce));
        assert!(nonces.spend(&nonce));
        assert!(!nonces.spend(&nonce));
    }

    #[tokio::test]
    async fn what_was_never_issued_is_refused() {
        let nonces = Nonces::default();
        let nonce = nonces.issue().unwrap();
        for wrong in [&[0; 32][..], &[], &[0; 31], &[0; 33], &nonce[..31]] {
            assert!(!nonces.spend(wrong));
        }
        assert!(nonces.spend(&nonce));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_one_is_refused_and_makes_room() {
        let nonces = Nonces::default();
        let old = nonces.issue().unwrap();
        tokio::time::advance(LIFE).await;
        assert!(!nonces.spend(&old));
        for _ in 0..PER_CONNECTION {
            nonces.issue().unwrap();
        }
        assert_eq!(nonces.issue(), Err(NonceError::TooManyOnConnection));
        tokio::time::advance(LIFE).await;
        nonces.issue().unwrap();
    }

    #[tokio::test]
    async fn a_connection_has_room_for_few_and_each_that_is_spent_makes_some() {
        let nonces = Nonces::default();
        let issued: Vec<Nonce> = (0..PER_CONNECTION).map(|_| nonces.issue().unwrap()).collect();
        assert_eq!(nonces.issue(), Err(NonceError::TooManyOnConnection));
        assert!(nonces.spend(&issued[2]));
        let fresh = nonces.issue().unwrap();
        assert_eq!(nonces.issue(), Err(NonceError::TooManyOnConnection));
        for nonce in [issued[0], issued[1], issued[3], fresh] {
            assert!(nonces.spend(&nonce));
        }
    }
}
