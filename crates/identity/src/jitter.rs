//! Jitter, so that a fleet started together does not act together.

use std::time::Duration;

/// A duration within ± `share` (0 to 1) of `mean`, evenly spread.
pub(crate) fn around(mean: Duration, share: f64) -> Duration {
    let mut bytes = [0_u8; 4];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return mean;
    }
    let unit = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    mean.mul_f64((1.0 + share * (2.0 * unit - 1.0)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_share() {
        for _ in 0..1000 {
            let drawn = around(Duration::from_secs(100), 0.1);
            assert!((Duration::from_secs(90)..=Duration::from_secs(110)).contains(&drawn), "{drawn:?}");
        }
    }
}
