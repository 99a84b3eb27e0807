//! Numbers of one kind, one from each round.

use serde::Serialize;

/// The numbers of all rounds, in the order of the rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds the number of the next round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The number of rounds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was no round.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest number; NaN without rounds.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest number; NaN without rounds.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The middle number, the mean of the two middle ones if their count is even; NaN without rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
    }

    /// How far the rounds are apart, as a part of their median; infinite without rounds.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let spread = (self.max() - self.min()) / self.median();
        if spread.is_nan() { f64::INFINITY } else { spread }
    }

    /// These numbers as parts of those of the same rounds in `whole`.
    #[must_use]
    pub fn over(&self, whole: &Self) -> Self {
        self.0.iter().zip(&whole.0).map(|(part, whole)| part / whole).collect()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert!((series(&[9.0, 1.0, 4.0]).median() - 4.0).abs() < 1e-9);
        assert!((series(&[9.0, 1.0, 4.0, 2.0]).median() - 3.0).abs() < 1e-9);
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn the_spread_is_relative_and_of_nothing_infinite() {
        assert!((series(&[90.0, 100.0, 120.0]).spread() - 0.3).abs() < 1e-9);
        assert!(Series::default().spread().is_infinite());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratio = series(&[10.0, 30.0]).over(&series(&[20.0, 30.0]));
        assert_eq!(ratio, series(&[0.5, 1.0]));
    }
}
