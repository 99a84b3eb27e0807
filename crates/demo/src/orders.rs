//! The orders of a run: read from a file or a pipe, handed to the storefront line by line at a pace that lasts for
//! the whole run, and remembered for the audit.
//!
//! Lines are passed on as they are, malformed ones too: saying what is wrong with them is the storefront's work.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Between two lines while the run goes on, if nobody knows how many there are.
const PACE: Duration = Duration::from_millis(100);

/// The slowest.
const SLOWEST: Duration = Duration::from_secs(5);

/// An order as far as the audit looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// The client's ID.
    pub order_id: String,
    /// EUR and others.
    pub currency: String,
    /// What was ordered.
    pub lines: Vec<Line>,
}

/// One article of an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// The article.
    pub sku: String,
    /// Pieces.
    pub quantity: u32,
    /// Price of one, smallest unit.
    pub unit_price_minor: i64,
}

impl From<&Line> for market_api::orders::v1::Line {
    fn from(line: &Line) -> Self {
        Self { sku: line.sku.clone(), quantity: line.quantity, unit_price_minor: line.unit_price_minor }
    }
}

/// Feeds the storefront.
#[derive(Debug, Default)]
pub struct Feed {
    sent: Cell<u64>,
    hurry: Cell<bool>,
    pace: Cell<Option<Duration>>,
    orders: RefCell<BTreeMap<String, Order>>,
}

impl Feed {
    /// Non-empty lines that were handed over.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Ends the pauses between lines, since the run now waits for the orders alone.
    pub fn hurry(&self) {
        self.hurry.set(true);
    }

    /// The first order of each ID that was handed over.
    #[must_use]
    pub fn orders(&self) -> BTreeMap<String, Order> {
        self.orders.borrow().clone()
    }

    /// Notes an order that goes another way than through the stream.
    pub fn note(&self, order: Order) {
        self.orders.borrow_mut().entry(order.order_id.clone()).or_insert(order);
    }

    /// Hands over the lines of `source` (`-` is standard input), in such a way that a file lasts for `span`.
    ///
    /// # Errors
    /// When the file can't be read or the storefront does not take it.
    pub async fn run(&self, source: &Path, span: Duration, sink: impl AsyncWrite + Unpin) -> io::Result<()> {
        if source == Path::new("-") {
            self.pace.set(Some(PACE));
            return self.pass_on(BufReader::new(tokio::io::stdin()), sink).await;
        }
        let text = tokio::fs::read(source).await?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        let pace = span / u32::try_from(lines.max(1)).unwrap_or(u32::MAX);
        self.pace.set(Some(pace.min(SLOWEST)));
        self.pass_on(text.as_slice(), sink).await
    }

    async fn pass_on(
        &self,
        mut reader: impl AsyncBufRead + Unpin,
        mut sink: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).await? == 0 {
                break;
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            sink.write_all(&line).await?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.sent.set(self.sent.get() + 1);
            if let Ok(order) = serde_json::from_slice::<Order>(&line) {
                self.note(order);
            }
            if !self.hurry.get() {
                sink.flush().await?;
                tokio::time::sleep(self.pace.get().unwrap_or(PACE)).await;
            }
        }
        sink.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price_minor":5}]}"#;

    async fn fed(text: &str, span: Duration) -> (Feed, String, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("orders.jsonl");
        std::fs::write(&file, text).unwrap();
        let (feed, mut sink) = (Feed::default(), Vec::new());
        let began = tokio::time::Instant::now();
        feed.run(&file, span, &mut sink).await.unwrap();
        (feed, String::from_utf8(sink).unwrap(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn every_line_is_handed_over_as_it_is_and_only_orders_are_remembered() {
        let text = format!("{ORDER}\n\nnot json\n{{\"order_id\":1}}\n{}", ORDER.replace("o-1", "o-2"));
        let (feed, handed_over, _) = fed(&text, Duration::from_secs(4)).await;
        assert_eq!(handed_over, format!("{text}\n"));
        assert_eq!(feed.sent(), 4);
        assert_eq!(feed.orders().keys().collect::<Vec<_>>(), ["o-1", "o-2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_order_of_an_id_is_the_one_that_counts() {
        let text = format!("{ORDER}\n{}\n", ORDER.replace("EUR", "USD"));
        let (feed, ..) = fed(&text, Duration::from_secs(1)).await;
        assert_eq!(feed.orders()["o-1"].currency, "EUR");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_lasts_as_long_as_it_is_meant_to_but_no_line_is_waited_for_too_long() {
        let (_, _, lasted) = fed(&format!("{ORDER}\n").repeat(40), Duration::from_secs(20)).await;
        assert_eq!(lasted.as_secs(), 20);
        let (_, _, lasted) = fed(&format!("{ORDER}\n").repeat(2), Duration::from_secs(60)).await;
        assert_eq!(lasted, SLOWEST * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_hurry_nothing_is_waited_for() {
        let feed = Feed::default();
        feed.hurry();
        let began = tokio::time::Instant::now();
        let text = format!("{ORDER}\n").repeat(1000);
        feed.pass_on(text.as_bytes(), Vec::new()).await.unwrap();
        assert!(began.elapsed().is_zero());
        assert_eq!(feed.sent(), 1000);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_an_error() {
        let outcome = Feed::default().run(Path::new("no/such/file"), Duration::ZERO, Vec::new()).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
