//! The spans of a server that exports them, and the check that none is lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::CALLER_CORE;
use crate::roles::collect;

/// The longest time until a collector answers.
const ANSWER: Duration = Duration::from_secs(10);

/// The longest time until all full batches have been exported: an exporter gives up a batch after 10 s.
const SETTLE: Duration = Duration::from_secs(20);

/// When nothing has arrived for so long, the exporter waits for more spans: what is left fills no batch.
const CALM: Duration = Duration::from_millis(60);

/// A collector, and the share of calls whose spans it is to receive.
#[derive(Debug)]
pub(super) struct Spans {
    collector: Child,
    address: SocketAddr,
    ratio: f64,
}

impl Spans {
    /// Starts a collector. It shares a core with callers.
    pub(super) fn start(bench: &Bench, name: &str, ratio: f64) -> Result<Self, Error> {
        let program = bench.today()?.program("avouch-bench");
        let launch = Launch::role(&program, collect::NAME, &collect::Options {});
        let mut collector = launch.named(format!("{name} collector")).core(CALLER_CORE).start(&bench.dir)?;
        let collect::Ready { address } = collector.ready()?;
        Ok(Self { collector, address, ratio })
    }

    /// The settings of a program that exports its spans to it.
    pub(super) fn settings(&self) -> [String; 2] {
        [
            format!("telemetry.otlp_endpoint=http://{}", self.address),
            format!("telemetry.sampling_ratio={}", self.ratio),
        ]
    }

    fn collected(&mut self) -> Result<u64, Error> {
        let collect::Collected { spans } = self.collector.ask(&collect::Query {}, ANSWER)?;
        Ok(spans)
    }

    /// Waits until no full batch waits to be exported.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let (mut spans, mut since) = (self.collected()?, Instant::now());
        while since.elapsed() < CALM {
            if began.elapsed() > SETTLE {
                return Err(Error::other(format!("spans still arrive {SETTLE:?} after the last call")));
            }
            std::thread::sleep(CALM / 6);
            let now = self.collected()?;
            if now != spans {
                (spans, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// What became of the spans of a server that has ended and has served so many calls.
    pub(super) fn end(mut self, name: &str, calls: u64) -> Result<String, Error> {
        let spans = self.collected()?;
        self.collector.end()?;
        Ok(verdict(name, spans, calls, self.ratio))
    }
}

/// Whether all sampled calls have their span. Of a ratio between 0 and 1 only the odds are known: six standard
/// deviations do not happen.
fn verdict(name: &str, spans: u64, calls: u64, ratio: f64) -> String {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let sampled = number(calls) * ratio;
    let odds = 6.0 * (sampled * (1.0 - ratio)).sqrt();
    let off = number(spans) - sampled;
    let percent = ratio * 100.0;
    if off < -odds {
        let lost = off.abs() / sampled * 100.0;
        format!(
            "LOST: {name}: {spans} spans arrived of {percent} % of {calls} calls; {lost:.1} % are missing"
        )
    } else if off > odds {
        format!("TOO MANY: {name}: {spans} spans arrived of {percent} % of {calls} calls")
    } else {
        format!("{name}: {spans} spans arrived of {percent} % of {calls} calls, none is missing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampled_call_has_its_span() {
        assert!(verdict("p", 1_000, 1_000, 1.0).ends_with("none is missing"));
        assert!(verdict("p", 999, 1_000, 1.0).starts_with("LOST: p: 999 spans"));
        assert!(verdict("p", 1_001, 1_000, 1.0).starts_with("TOO MANY"));
        assert!(verdict("p", 0, 1_000, 0.0).ends_with("none is missing"));
        assert!(verdict("p", 1, 1_000, 0.0).starts_with("TOO MANY"));
    }

    #[test]
    fn of_a_ratio_the_odds_decide() {
        // 10,000 are expected, and one standard deviation is 99.5.
        assert!(verdict("p", 9_500, 1_000_000, 0.01).ends_with("none is missing"));
        assert!(verdict("p", 9_300, 1_000_000, 0.01).starts_with("LOST"));
        assert!(verdict("p", 10_700, 1_000_000, 0.01).starts_with("TOO MANY"));
    }
}
