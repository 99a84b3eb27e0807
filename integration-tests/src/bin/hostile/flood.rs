//! A flood of handshakes that are begun and never finished, alternating with intervals without it.

use std::net::SocketAddr;
use std::time::Duration;

use avouch_attacker::floods::sockets::{HalfOpen, hello_of};
use avouch_attacker::{Error, now_us};
use serde_json::json;

use crate::say;

/// The time after the end of a flood that is excluded from measurement, since the flood may still have an effect.
const SETTLED: Duration = Duration::from_millis(300);

/// A server's default limit of pending handshakes: beyond it each new connection evicts another.
const FULL: u64 = 1_024;

/// So many connections, at most so many begun per second.
pub(crate) struct Flood {
    pub(crate) target: SocketAddr,
    pub(crate) count: u64,
    pub(crate) per_second: u32,
}

impl Flood {
    /// A turn without the flood, so many seconds long, then one with it, until all have been begun; and so on. The last
    /// is one without.
    pub(crate) async fn run(&self, turns: u32, seconds: f64) -> Result<(), Error> {
        let time = Duration::from_secs_f64(seconds);
        self.quiet(time).await?;
        for _ in 0..turns {
            let flood = self.begin()?;
            begun(&flood, FULL).await;
            let from_us = now_us();
            begun(&flood, self.count).await;
            let (to_us, begun) = (now_us(), flood.begun());
            say(&json!({ "turn": "flood", "from_us": from_us, "to_us": to_us, "begun": begun }))?;
            drop(flood);
            self.quiet(time).await?;
        }
        Ok(())
    }

    /// Half of a hello each, so that a server cannot take it for a connection that is merely slow to begin.
    fn begin(&self) -> Result<HalfOpen, Error> {
        let pace = Duration::from_secs(1) / self.per_second;
        Ok(HalfOpen::keep(self.target, None, usize::try_from(self.count)?, hello_of(2_000), pace))
    }

    async fn quiet(&self, time: Duration) -> Result<(), Error> {
        tokio::time::sleep(SETTLED).await;
        let from_us = now_us();
        tokio::time::sleep(time).await;
        say(&json!({ "turn": "quiet", "from_us": from_us, "to_us": now_us() }))
    }
}

async fn begun(flood: &HalfOpen, count: u64) {
    while flood.begun() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
