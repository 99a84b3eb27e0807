//! What else the machine did while something was measured.

use std::fs;
use std::time::{Duration, Instant};

/// The share of the machine's time that was taken by others than this program and its children, at a quiet time.
const QUIET: f64 = 0.05;

/// A watch over the machine, from its start.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    busy: Option<Busy>,
}

/// Hundredths of a second that the cores together were busy, and were taken away by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Busy {
    stolen: u64,
}

impl Watch {
    /// Starts watching.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now(), busy: busy() }
    }

    /// What took so much time away that figures may be wrong; none at a quiet time, or where the system does not say.
    #[must_use]
    pub fn disturbed(&self) -> Option<String> {
        let (before, after) = (self.busy?, busy()?);
        let stolen = after.stolen.saturating_sub(before.stolen);
        let stolen = Duration::from_millis(stolen.saturating_mul(10)).as_secs_f64();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share =
            stolen / (self.began.elapsed().as_secs_f64() * f64::from(u32::try_from(cores).unwrap_or(1)));
        (share > QUIET).then(|| format!("the host took {:.0} % of the cores' time away", share * 100.0))
    }
}

fn busy() -> Option<Busy> {
    parse(&fs::read_to_string("/proc/stat").ok()?)
}

/// `cpu user nice system idle iowait irq softirq steal …`, see proc(5).
fn parse(stat: &str) -> Option<Busy> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
    let mut numbers = numbers.split_whitespace().map(str::parse);
    Some(Busy { stolen: numbers.nth(7)?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        assert_eq!(parse("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 0"), Some(Busy { stolen: 8 }));
        assert_eq!(parse("cpu  1 2 3"), None);
        assert_eq!(parse(""), None);
    }
}
