//! Handshakes that are begun and never finished, in turns with nothing at all.

use std::net::SocketAddr;
use std::time::Duration;

use avouch_attacker::floods::sockets::{HalfOpen, hello_of};
use avouch_attacker::{Error, now_us};
use serde_json::{Value, json};

use crate::say;

/// How long the beginning or the end of a flood may still be felt before a turn counts.
const SETTLED: Duration = Duration::from_millis(300);

/// So many connections, at most so many begun per second.
pub(crate) struct Flood {
    pub(crate) target: SocketAddr,
    pub(crate) count: usize,
    pub(crate) per_second: u32,
}

impl Flood {
    /// Each turn is one without the flood and one with all of it, each so many seconds long.
    pub(crate) async fn run(&self, turns: u32, seconds: f64) -> Result<(), Error> {
        let time = Duration::from_secs_f64(seconds);
        for _ in 0..turns {
            say(&turn("quiet", time, 0).await)?;
            let flood = self.begin();
            let all = u64::try_from(self.count)?;
            while flood.begun() < all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            say(&turn("flood", time, flood.begun()).await)?;
        }
        Ok(())
    }

    /// Half of a hello each, so that a server cannot take it for a connection that is merely slow to begin.
    fn begin(&self) -> HalfOpen {
        let pace = Duration::from_secs(1) / self.per_second;
        HalfOpen::keep(self.target, None, self.count, hello_of(2_000), pace)
    }
}

async fn turn(what: &str, time: Duration, begun: u64) -> Value {
    tokio::time::sleep(SETTLED).await;
    let from_us = now_us();
    tokio::time::sleep(time).await;
    json!({ "turn": what, "from_us": from_us, "to_us": now_us(), "begun": begun })
}
