//! Growth: the exponents of what there is more and more of.
//!
//! A round measures a thing at every size and gives one exponent, see [`crate::fit`]. Each figure is taken as in the group
//! that is about it.

mod processes;
mod stores;

use crate::bench::Bench;
use crate::error::Error;
use crate::fit::exponent;
use crate::rounds::{Variant, interleave};
use crate::table::{Column, Table, Unit, column};

/// Measures everything that could grow.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    Ok([processes::measure(bench)?, stores::measure(bench)?].into_iter().flatten().collect())
}

/// The columns of a table of exponents; `unit` is that of the figures.
const fn columns(unit: Unit) -> [Column; 5] {
    [
        column("exponent", Unit::Number),
        column("from", Unit::Count),
        column("to", Unit::Count),
        column("there", unit),
        column("here", unit),
    ]
}

/// The row of a round: the exponent of the figures, the smallest and the largest size, and their figures.
fn row(points: &[(usize, f64)]) -> Vec<f64> {
    let points: Vec<_> = points.iter().map(|(size, figure)| (as_f64(*size), *figure)).collect();
    let of = |point: Option<&(f64, f64)>| point.copied().unwrap_or((f64::NAN, f64::NAN));
    let ((from, smallest), (to, largest)) = (of(points.first()), of(points.last()));
    vec![exponent(&points).unwrap_or(f64::NAN), from, to, smallest, largest]
}

fn as_f64(size: usize) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX))
}

/// A table of exponents, measured in turns.
fn table(title: &str, unit: Unit, variants: Vec<Variant<'_>>, rounds: usize) -> Result<Table, Error> {
    let mut table = Table::new(title, &columns(unit));
    interleave(&mut table, variants, rounds)?;
    table.note(
        "exponent 0: does not grow; 1: grows as what there is more of; over powers of ten by least squares",
    );
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_exponent_and_both_ends() {
        let row = row(&[(10, 2.0), (100, 20.0), (1_000, 200.0)]);
        assert!((row[0] - 1.0).abs() < 1e-9);
        assert_eq!(row[1..], [10.0, 1_000.0, 2.0, 200.0]);
        assert!(super::row(&[]).iter().all(|value| value.is_nan()));
    }
}
