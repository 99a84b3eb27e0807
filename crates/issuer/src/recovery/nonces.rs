//! The nonces handed out by BeginRecovery: used once, on the connection that asked, soon, and not too many.
//!
//! A presented nonce is spent whatever comes of it. Nothing here is remembered across a restart: the connections a
//! nonce is bound to are gone then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// 32 random bytes.
pub(crate) type Nonce = [u8; 32];

/// How long a nonce may be used: a round trip and a signature take far less.
const LIFE: Duration = Duration::from_secs(60);
/// Outstanding nonces, all connections together.
const CAPACITY: usize = 8_192;
/// Outstanding nonces of one connection.
const PER_CONNECTION: usize = 4;

/// Why no nonce is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// This connection has enough of them.
    #[error("the connection has {PER_CONNECTION} unused nonces already")]
    TooManyOnConnection,
    /// Everybody together has.
    #[error("{CAPACITY} recoveries are under way")]
    TableFull,
    /// The system's random generator failed.
    #[error("no random bytes are to be had")]
    NoRandomness,
}

/// The outstanding nonces; `C` names a connection.
#[derive(Debug)]
pub(crate) struct Nonces<C> {
    pending: Mutex<HashMap<Nonce, Pending<C>>>,
}

#[derive(Debug, Clone, Copy)]
struct Pending<C> {
    connection: C,
    until: Instant,
}

impl<C> Default for Nonces<C> {
    fn default() -> Self {
        Self { pending: Mutex::default() }
    }
}

impl<C: Copy + Eq> Nonces<C> {
    /// A fresh nonce for a connection.
    pub(crate) fn issue(&self, connection: C) -> Result<Nonce, NonceError> {
        let now = Instant::now();
        let nonce = crate::random::bytes().map_err(|_| NonceError::NoRandomness)?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, entry| entry.until > now);
        if pending.values().filter(|entry| entry.connection == connection).count() >= PER_CONNECTION {
            return Err(NonceError::TooManyOnConnection);
        }
        if pending.len() >= CAPACITY {
            return Err(NonceError::TableFull);
        }
        pending.insert(nonce, Pending { connection, until: now + LIFE });
        Ok(nonce)
    }

    /// Spends a nonce. `false`: it is unknown, spent, too old, or another connection's.
    pub(crate) fn spend(&self, nonce: &[u8], connection: C) -> bool {
        let Ok(nonce) = Nonce::try_from(nonce) else { return false };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = pending.remove(&nonce) else { return false };
        entry.connection == connection && entry.until > Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_nonce_serves_once_on_its_own_connection() {
        let nonces = Nonces::default();
        let nonce = nonces.issue(1).unwrap();
        assert!(nonces.spend(&nonce, 1));
        assert!(!nonces.spend(&nonce, 1));
    }

    #[tokio::test]
    async fn on_another_connection_it_is_worth_nothing_and_gone() {
        let nonces = Nonces::default();
        let nonce = nonces.issue(1).unwrap();
        assert!(!nonces.spend(&nonce, 2));
        assert!(!nonces.spend(&nonce, 1));
    }

    #[tokio::test]
    async fn what_was_never_issued_is_refused() {
        let nonces = Nonces::default();
        nonces.issue(1).unwrap();
        for wrong in [&[0; 32][..], &[], &[0; 31], &[0; 33]] {
            assert!(!nonces.spend(wrong, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_one_is_refused_and_makes_room() {
        let nonces = Nonces::default();
        let old = nonces.issue(1).unwrap();
        tokio::time::advance(LIFE).await;
        assert!(!nonces.spend(&old, 1));
        for _ in 0..PER_CONNECTION {
            nonces.issue(1).unwrap();
        }
        assert_eq!(nonces.issue(1), Err(NonceError::TooManyOnConnection));
        tokio::time::advance(LIFE).await;
        nonces.issue(1).unwrap();
    }

    #[tokio::test]
    async fn the_table_is_bounded() {
        let nonces = Nonces::default();
        for connection in 0..CAPACITY {
            nonces.issue(connection).unwrap();
        }
        assert_eq!(nonces.issue(CAPACITY), Err(NonceError::TableFull));
    }
}
