//! Turns: each round measures every variant once, so that all see the same minutes of the machine.

use crate::error::Error;
use crate::series::Series;
use crate::table::{Row, Table};

/// One way of doing what a table measures.
pub struct Variant<'a> {
    name: String,
    measure: Box<dyn FnMut() -> Result<Vec<f64>, Error> + 'a>,
}

impl<'a> Variant<'a> {
    /// A variant whose `measure` gives a number for each column of the table; NaN where there is none.
    pub fn new(name: impl Into<String>, measure: impl FnMut() -> Result<Vec<f64>, Error> + 'a) -> Self {
        Self { name: name.into(), measure: Box::new(measure) }
    }
}

impl std::fmt::Debug for Variant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Variant").field(&self.name).finish()
    }
}

/// Measures each variant once without counting it, then all of them in turns, `rounds` times, and adds their rows to
/// `table`. Every round begins with another variant: none always comes after the same one.
///
/// # Errors
/// The first error of a variant.
pub fn interleave(table: &mut Table, mut variants: Vec<Variant<'_>>, rounds: usize) -> Result<(), Error> {
    for variant in &mut variants {
        (variant.measure)()?;
    }
    interleave_cold(table, variants, rounds)
}

/// The same, but every turn counts: for variants that begin anew with each turn.
///
/// # Errors
/// The first error of a variant.
pub fn interleave_cold(
    table: &mut Table,
    mut variants: Vec<Variant<'_>>,
    rounds: usize,
) -> Result<(), Error> {
    let columns = table.columns.len();
    let mut figures = vec![vec![Series::default(); columns]; variants.len()];
    for round in 0..rounds {
        for turn in 0..variants.len() {
            let at = (round + turn) % variants.len();
            let (Some(variant), Some(figures)) = (variants.get_mut(at), figures.get_mut(at)) else {
                continue;
            };
            let values = (variant.measure)()?;
            for (series, value) in figures.iter_mut().zip(values).filter(|(_, value)| !value.is_nan()) {
                series.push(value);
            }
        }
    }
    table.rows.extend(
        variants.into_iter().zip(figures).map(|(variant, figures)| Row { variant: variant.name, figures }),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::table::{Unit, column};

    #[test]
    fn every_round_begins_with_another_variant_and_the_first_is_not_counted() {
        let order = RefCell::new(String::new());
        let variant = |name: &'static str| {
            let order = &order;
            Variant::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(vec![f64::from(u32::try_from(order.borrow().len()).unwrap()), f64::NAN])
            })
        };
        let mut table = Table::new("", &[column("at", Unit::Count), column("none", Unit::Count)]);
        interleave(&mut table, vec![variant("a"), variant("b")], 2).unwrap();
        assert_eq!(*order.borrow(), "ababba");
        assert_eq!(table.rows[0].figures, [[3.0, 6.0].into_iter().collect(), Series::default()]);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let variants = vec![Variant::new("a", || Err(Error::other("no")))];
        assert!(interleave(&mut Table::new("", &[]), variants, 1).is_err());
    }
}
