//! Measures how much of the machine an attack takes, from inside the same process (Linux).

use std::fs::read_to_string;

/// CPU time, in ticks of 10 ms over all cores, that other processes have left to this one since the machine started:
/// what it used and what was idle.
///
/// Work per tick of it is throughput that does not depend on what else runs. Waiting counts (an idle core is one that
/// could have been used), so being locked out shows as much as being slowed down.
#[must_use]
pub fn available() -> u64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let idle: u64 = numbers(stat.lines().next().unwrap_or_default()).skip(3).take(2).sum();
    let own = read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time, the 12th and 13th field after the command, which may hold anything but a last `)`.
    let own: u64 = numbers(own.rsplit(')').next().unwrap_or_default()).skip(10).take(2).sum();
    idle + own
}

fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split_ascii_whitespace().skip(1).map(|word| word.parse().unwrap_or_default())
}

/// The share of their throughput that normal clients must keep during a flood. Measurements on a shared machine are
/// noisy, so the suite asserts one half; `./just floods`, which has the machine to itself, sets another.
#[must_use]
pub fn least_share() -> f64 {
    std::env::var("AVOUCH_FLOOD_SHARE").ok().and_then(|share| share.parse().ok()).unwrap_or(0.5)
}

/// Resident memory of this process, in KiB.
#[must_use]
pub fn resident_kib() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_available() {
        let before = available();
        let began = std::time::Instant::now();
        let mut spun = 0_u64;
        while available() < before + 5 {
            spun += 1;
            assert!(began.elapsed().as_secs() < 10, "no time passes");
        }
        assert!(spun > 0 && resident_kib() > 100);
    }
}
