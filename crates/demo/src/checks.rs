//! The checks of a run in their order: each is printed at once, and kept for the facts.

use std::cell::RefCell;
use std::fmt::Display;

use crate::console::{Console, Mark};
use crate::facts::{Check, Outcome};

/// The longest detail that is printed; the report has all of it.
const WIDTH: usize = 76;

/// The checks of a run.
#[derive(Debug)]
pub struct Checks<'a> {
    console: &'a Console,
    all: RefCell<Vec<Check>>,
}

impl<'a> Checks<'a> {
    /// None yet.
    #[must_use]
    pub fn new(console: &'a Console) -> Self {
        Self { console, all: RefCell::default() }
    }

    /// Notes a claim: `Ok` with what was seen when it held, `Err` with what was seen instead.
    pub fn note(&self, claim: &str, seen: Result<impl Display, impl Display>) {
        let (outcome, detail) = match seen {
            Ok(seen) => (Outcome::Held, seen.to_string()),
            Err(seen) => (Outcome::Failed, seen.to_string()),
        };
        self.add(Check { claim: claim.to_owned(), outcome, detail });
    }

    /// Notes a check that was made elsewhere.
    pub fn add(&self, check: Check) {
        let mark = match check.outcome {
            Outcome::Held => Mark::Held,
            Outcome::Failed => Mark::Failed,
            Outcome::Skipped => Mark::Skipped,
        };
        let skipped = if check.outcome == Outcome::Skipped { "SKIPPED " } else { "" };
        let detail =
            if check.outcome == Outcome::Failed { check.detail.clone() } else { brief(&check.detail) };
        let separator = if detail.is_empty() { "" } else { ": " };
        self.console.line(mark, &format!("{skipped}{}{separator}{detail}", check.claim));
        self.all.borrow_mut().push(check);
    }

    /// All of them.
    #[must_use]
    pub fn into_all(self) -> Vec<Check> {
        self.all.into_inner()
    }
}

fn brief(detail: &str) -> String {
    let line = detail.lines().next().unwrap_or_default();
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(WIDTH - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_in_print_and_kept_in_the_facts() {
        let console = Console::new();
        let checks = Checks::new(&console);
        checks.note("it holds", Ok::<_, String>("x".repeat(500)));
        checks.note("this does not", Err::<String, _>("why"));
        let all = checks.into_all();
        assert_eq!(all[0].detail.len(), 500);
        assert_eq!((all[0].outcome, all[1].outcome), (Outcome::Held, Outcome::Failed));
        assert_eq!(brief(&all[0].detail).chars().count(), WIDTH);
    }
}
