//! The lines of a reservation: articles and quantities, checked and added up.

use std::collections::BTreeMap;

use market_api::ids::Sku;
use market_api::inventory::v1::Line;
use market_api::limits::{MAX_LINES, MAX_QUANTITY};

use crate::InventoryError;

/// The lines of a reservation: at least one article, each once, each with a quantity of 1 or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines(BTreeMap<Sku, u32>);

impl Lines {
    /// The articles and quantities, in the order of the articles' IDs.
    pub fn iter(&self) -> impl Iterator<Item = (&Sku, u32)> {
        self.0.iter().map(|(sku, quantity)| (sku, *quantity))
    }

    /// The lines of rows of the store, which were checked when they were written.
    pub(crate) fn from_rows(rows: BTreeMap<Sku, u32>) -> Self {
        Self(rows)
    }
}

impl TryFrom<&[Line]> for Lines {
    type Error = InventoryError;

    fn try_from(lines: &[Line]) -> Result<Self, InventoryError> {
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(InventoryError::LineCount);
        }
        let mut sum = BTreeMap::new();
        for line in lines {
            if !(1..=MAX_QUANTITY).contains(&line.quantity) {
                return Err(InventoryError::Quantity);
            }
            // 50 lines of 1000 pieces at most: this cannot wrap.
            *sum.entry(line.sku.parse()?).or_insert(0) += line.quantity;
        }
        Ok(Self(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: u32) -> Line {
        Line { sku: sku.to_owned(), quantity }
    }

    #[test]
    fn lines_of_one_article_add_up() {
        let lines = Lines::try_from([line("B", 1), line("A", 2), line("B", 3)].as_slice()).unwrap();
        let rows: Vec<_> = lines.iter().map(|(sku, quantity)| (sku.as_str(), quantity)).collect();
        assert_eq!(rows, [("A", 2), ("B", 4)]);
    }

    #[test]
    fn no_lines_too_many_lines_and_odd_quantities_are_refused() {
        let refused = |lines: &[Line]| Lines::try_from(lines).unwrap_err();
        assert!(matches!(refused(&[]), InventoryError::LineCount));
        assert!(matches!(refused(&vec![line("A", 1); 51]), InventoryError::LineCount));
        for quantity in [0, 1001, u32::MAX] {
            assert!(matches!(refused(&[line("A", quantity)]), InventoryError::Quantity));
        }
        assert!(matches!(refused(&[line("a", 1)]), InventoryError::Id(_)));
    }
}
