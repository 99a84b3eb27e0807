//! The outcome of the orders: the storefront's totals of its stream, and the books.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Run;
use crate::audit::Books;
use crate::console::Mark;
use crate::facts::{Kill, Problem};
use crate::http;
use crate::orders::Feed;
use crate::paths::SERVICES;
use crate::setup::SetupError;
use crate::stopwatch::Stopwatch;
use crate::traces::{self, Call};

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

/// How many calls a service says it made in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) name: &'static str,
    from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) calls: u64,
}

impl Counted {
    /// How many of the calls that left spans are of this life.
    pub(super) fn traced(&self, calls: &[Call], watch: &Stopwatch) -> u64 {
        let at = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let life = at(self.from_ms)..=at(self.to_ms);
        let own = |call: &&Call| call.caller == self.name && life.contains(&watch.at_ns(call.start_ns));
        u64::try_from(calls.iter().filter(own).count()).unwrap_or(u64::MAX)
    }
}

impl Run<'_> {
    /// What every service says how many calls it made in its present life: none may be missing among the spans.
    pub(super) async fn counted(&self, kills: &[Kill]) -> Result<Vec<Counted>, SetupError> {
        let mut counted = Vec::new();
        for name in SERVICES {
            let lives = kills.iter().filter(|kill| kill.party == name).map(|kill| kill.restarted_ms);
            counted.push(self.count(name, lives.max().unwrap_or(0)).await?);
        }
        Ok(counted)
    }

    /// What a service says how many calls it has made in its present life, which began then.
    pub(super) async fn count(&self, name: &'static str, from_ms: u64) -> Result<Counted, SetupError> {
        let page = self.market.metrics(name).await?;
        let calls = http::metric(&page, "rpc_client_call_duration_seconds_count").unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls")]
        let calls = calls as u64;
        Ok(Counted { name, from_ms, to_ms: u64::MAX, calls })
    }

    /// How many of them have left a span by now.
    pub(super) fn told(&self, counted: &Counted) -> u64 {
        counted.traced(&traces::calls(&self.collector.spans()), &self.watch)
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
            let file = self.market.paths.shipped("expected.json");
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
