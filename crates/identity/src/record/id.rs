//! The ID of a connection.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Identifies a connection in records and errors: `conn-` and sixteen hex digits, unique within a process and,
/// by its random part, across restarts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

/// A text that is not `conn-` and sixteen hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a connection's id: conn- and sixteen hex digits")]
pub struct UnknownConnectionId;

impl ConnectionId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static EPOCH: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        let epoch = EPOCH.get_or_init(|| {
            let mut random = [0_u8; 8];
            // Without randomness ids are still unique within the process.
            let _ = aws_lc_rs::rand::fill(&mut random);
            u64::from_be_bytes(random) & 0xffff_ffff_0000_0000
        });
        Self(epoch | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn-{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ConnectionId {
    type Err = UnknownConnectionId;

    fn from_str(text: &str) -> Result<Self, UnknownConnectionId> {
        let digits =
            text.strip_prefix("conn-").filter(|digits| digits.len() == 16).ok_or(UnknownConnectionId)?;
        let number = u64::from_str_radix(digits, 16).map_err(|_| UnknownConnectionId)?;
        Some(Self(number)).filter(|id| id.to_string() == text).ok_or(UnknownConnectionId)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = ConnectionId::next();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "conn-", "conn-0011", "d-0011223344556677", "conn-+011223344556677", "conn-00112233445566AA"]
        {
            assert_eq!(text.parse::<ConnectionId>(), Err(UnknownConnectionId), "{text}");
        }
    }
}
