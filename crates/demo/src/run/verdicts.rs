//! What became of the orders: the storefront's own account of its stream, and the books.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Run;
use crate::audit::Books;
use crate::console::Mark;
use crate::facts::{Kill, Problem};
use crate::http;
use crate::orders::Feed;
use crate::place::SERVICES;
use crate::setup::SetupError;

/// Lines of the stream that became no order are printed up to this many.
const SHOWN_PROBLEMS: usize = 2;

/// What the storefront says became of its stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Stream {
    pub(super) lines: u64,
    pub(super) malformed: u64,
    invalid: u64,
    conflict: u64,
    repeated: u64,
    failed: u64,
    pub(super) completed: u64,
    rejected: BTreeMap<String, u64>,
    revenue: BTreeMap<String, i64>,
    pub(super) problems: Vec<Problem>,
}

impl Stream {
    /// Whether the same came of it, whatever is said about single lines.
    fn came_to(&self, expected: &Self) -> bool {
        Self { problems: Vec::new(), ..self.clone() } == Self { problems: Vec::new(), ..expected.clone() }
    }
}
impl Run<'_> {
    /// What the services that lived all the time say how many calls they made: none may be missing among the spans.
    pub(super) async fn counted(&self, kills: &[Kill]) -> Result<BTreeMap<&'static str, u64>, SetupError> {
        let mut counted = BTreeMap::new();
        for name in SERVICES.into_iter().filter(|name| kills.iter().all(|kill| kill.party != *name)) {
            let page = self.market.metrics(name).await?;
            let calls = http::metric(&page, "rpc_client_call_duration_seconds_count").unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls")]
            counted.insert(name, calls as u64);
        }
        Ok(counted)
    }
    pub(super) fn note_stream(&self, stream: &Stream, feed: &Feed) {
        let rejected: u64 = stream.rejected.values().sum();
        let ends = stream.completed
            + rejected
            + stream.malformed
            + stream.invalid
            + stream.conflict
            + stream.repeated;
        let seen = if stream.lines == feed.sent() && ends == stream.lines && stream.failed == 0 {
            Ok(format!(
                "{} lines: {} completed, {rejected} rejected, {} no orders, {} repeated",
                stream.lines,
                stream.completed,
                stream.malformed + stream.invalid + stream.conflict,
                stream.repeated
            ))
        } else {
            Err(format!("{} lines were sent; the storefront says {stream:?}", feed.sent()))
        };
        self.checks.note("every order of the stream came to its end", seen);
        for problem in stream.problems.iter().take(SHOWN_PROBLEMS) {
            let line = format!("    line {}: {}: {}", problem.line, problem.kind, problem.reason);
            self.console.line(Mark::Plain, &line);
        }
        if let Some(more) = stream.problems.len().checked_sub(SHOWN_PROBLEMS).filter(|more| *more > 0) {
            self.console
                .line(Mark::Plain, &format!("    … and {more} more lines, all of them in the report"));
        }
        if self.options.orders.is_none() {
            let file = self.market.place.shipped("expected.json");
            let expected = std::fs::read(&file).map_err(|error| error.to_string());
            let expected =
                expected.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            let seen = match expected {
                Ok(expected) if stream.came_to(&expected) => Ok("expected.json"),
                Ok(expected) => Err(format!("expected {expected:?}, got {stream:?}")),
                Err(error) => Err(error),
            };
            self.checks.note("the outcomes are those that these orders must have", seen);
        }
    }

    pub(super) fn note_books(&self, books: &Result<Books, String>, stream: &Stream) {
        let sold =
            books.as_ref().map(|books| format!("{} postings, {} pieces", books.postings, books.pieces));
        let enough = books.as_ref().map_or(true, |books| books.completed >= stream.completed);
        let seen = match sold {
            Ok(_) if !enough => {
                Err("the orders service has fewer completed orders than the storefront saw".to_owned())
            }
            Ok(sold) => Ok(sold),
            Err(error) => Err(error.clone()),
        };
        self.checks.note("orders, stock, ledger and report agree", seen);
    }
}
