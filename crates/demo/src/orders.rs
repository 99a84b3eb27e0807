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
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::ChildStdin;

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

    /// The run waits for nothing but the orders any more: no pauses from here on.
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
    pub async fn run(&self, source: &Path, span: Duration, sink: ChildStdin) -> io::Result<()> {
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

    async fn pass_on(&self, mut reader: impl AsyncBufRead + Unpin, mut sink: ChildStdin) -> io::Result<()> {
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
