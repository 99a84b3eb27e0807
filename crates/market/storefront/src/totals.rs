//! The totals of a stream of orders.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use market_api::orders::v1::Order;
use serde::{Deserialize, Serialize};

use crate::order_json::reason_name;
use crate::submit::{OrderOutcome, Submitted};

/// The most problems that are listed; all are counted.
const MAX_PROBLEMS: usize = 100;

/// The totals. Each line that is not empty is counted in exactly one of `malformed`, `invalid`, `conflict`, `repeated`,
/// `failed`, `completed` and `rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Lines that are not empty.
    pub lines: u64,
    /// Lines that hold no order.
    pub malformed: u64,
    /// Orders that break a rule.
    pub invalid: u64,
    /// Orders whose ID was used for another order.
    pub conflict: u64,
    /// Orders that were in the stream before, and got the same answer.
    pub repeated: u64,
    /// Orders without a final state: failed, or given up.
    pub failed: u64,
    /// Orders that were delivered.
    pub completed: u64,
    /// Orders that were rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// The value of the completed orders by currency, in its smallest unit.
    pub revenue: BTreeMap<String, i64>,
    /// The pieces of the completed orders.
    #[serde(default)]
    pub pieces: u64,
    /// Calls that were retried.
    #[serde(default)]
    pub retries: u64,
    /// The time from the first line to the last answer.
    #[serde(default)]
    pub elapsed_ms: u64,
    /// The problems of lines that were not completed or rejected; at most a hundred.
    #[serde(default)]
    pub problems: Vec<Problem>,
    #[serde(skip)]
    seen: HashSet<String>,
}

/// A line without an order, or an order without a final state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// `malformed`, `invalid`, `conflict`, `failed` or `gave up`.
    pub kind: String,
    /// The reason, in words.
    pub reason: String,
}

impl Totals {
    /// Counts a line that holds no order.
    pub fn add_malformed(&mut self, line: u64, reason: String) {
        self.lines += 1;
        self.malformed += 1;
        self.problem(line, "malformed", reason);
    }

    /// Counts an order's end.
    pub fn add(&mut self, line: u64, submitted: Submitted) {
        self.lines += 1;
        self.retries += u64::from(submitted.retries);
        let kind = submitted.outcome.name();
        match submitted.outcome {
            OrderOutcome::Completed(order) => self.add_completed(&order),
            OrderOutcome::Rejected(order) => {
                if self.first(&order) {
                    *self.rejected.entry(reason_name(order.reject_reason()).to_owned()).or_default() += 1;
                }
            }
            OrderOutcome::Invalid(status) => {
                self.invalid += 1;
                self.problem(line, kind, status.message().to_owned());
            }
            OrderOutcome::Conflict(status) => {
                self.conflict += 1;
                self.problem(line, kind, status.message().to_owned());
            }
            OrderOutcome::Failed(status) => {
                self.failed += 1;
                self.problem(line, kind, format!("{:?}: {}", status.code(), status.message()));
            }
            OrderOutcome::GaveUp(heard) => {
                self.failed += 1;
                self.problem(line, kind, heard);
            }
        }
    }

    fn add_completed(&mut self, order: &Order) {
        if !self.first(order) {
            return;
        }
        self.completed += 1;
        self.pieces += order.lines.iter().map(|line| u64::from(line.quantity)).sum::<u64>();
        if let Some(total) = &order.total {
            let sum = self.revenue.entry(total.currency.clone()).or_default();
            *sum = sum.saturating_add(total.minor_units);
        }
    }

    /// Whether the order was not in the stream before.
    fn first(&mut self, order: &Order) -> bool {
        let first = self.seen.insert(order.order_id.clone());
        self.repeated += u64::from(!first);
        first
    }

    fn problem(&mut self, line: u64, kind: &str, reason: String) {
        tracing::warn!(line, kind, reason, "not an order with an end");
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, kind: kind.to_owned(), reason });
        }
    }

    /// Writes the totals as JSON, atomically.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        avouch_files::write_public(path, text.as_bytes())
    }
}

#[cfg(test)]
#[path = "totals_tests.rs"]
pub(crate) mod tests;
