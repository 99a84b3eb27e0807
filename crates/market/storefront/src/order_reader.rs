//! Reads orders line by line, whatever the lines hold.
//!
//! A line that holds no order is returned as such, with its number and the reason; so is one that is too long, of which no
//! more than the limit is ever held. Empty lines are skipped.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::OrderJson;

/// The longest line that is read.
const MAX_LINE: usize = 64 * 1024;
/// The most characters of a reason.
const MAX_REASON: usize = 200;

/// One line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line's number, from 1.
    pub number: u64,
    /// The order, or the reason why the line holds none.
    pub order: Result<OrderJson, String>,
}

/// A reader of the orders in a file or a pipe.
#[derive(Debug)]
pub struct OrderReader<R> {
    reader: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> OrderReader<R> {
    /// Reads orders from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, number: 0, line: Vec::new() }
    }

    /// The next line that is not empty; `None` at the end.
    ///
    /// # Errors
    /// When reading itself fails; what the lines hold is no error.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(fits) = self.read_line().await? {
            self.number += 1;
            let order =
                if fits { parse(&self.line) } else { Some(Err(format!("longer than {MAX_LINE} bytes"))) };
            if let Some(order) = order {
                return Ok(Some(Line { number: self.number, order }));
            }
        }
        Ok(None)
    }

    /// Fills `self.line` with the next line, without its end, and returns whether all of it fits; `None` at the end of the
    /// input.
    async fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let (mut fits, mut began) = (true, false);
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(began.then_some(fits));
            }
            began = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let (part, used) = match end {
                Some(end) => (chunk.get(..end).unwrap_or_default(), end + 1),
                None => (chunk, chunk.len()),
            };
            fits = fits && self.line.len() + part.len() <= MAX_LINE;
            if fits {
                self.line.extend_from_slice(part);
            }
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(fits));
            }
        }
    }
}

/// The order of a line; `None` for an empty line.
fn parse(line: &[u8]) -> Option<Result<OrderJson, String>> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    Some(serde_json::from_slice(line).map_err(|error| reason(&error)))
}

/// The reason why a line holds no order. serde's own line number is left out, because it is 1 in every line; what it quotes
/// from the line may hold anything, so control characters are removed.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    let what: String = what.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    format!("{what} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price_minor":5}]}"#;

    async fn read(text: &[u8]) -> Vec<Line> {
        // A tiny buffer, so that every line spans several reads.
        let mut lines = OrderReader::new(tokio::io::BufReader::with_capacity(7, text));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn numbers(lines: &[Line]) -> Vec<(u64, bool)> {
        lines.iter().map(|line| (line.number, line.order.is_ok())).collect()
    }

    #[tokio::test]
    async fn orders_are_read_with_and_without_a_last_line_end() {
        for end in ["", "\n", "\r\n", "\n\n"] {
            let lines = read(format!("{ORDER}\n{ORDER}{end}").as_bytes()).await;
            assert_eq!(numbers(&lines), [(1, true), (2, true)]);
        }
        assert!(read(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_malformed_line_keeps_its_number_and_the_rest_goes_on() {
        let text = format!("{ORDER}\n\n{{\"order_id\":\n  \nnot json\n[]\n{ORDER}\n");
        let lines = read(text.as_bytes()).await;
        assert_eq!(numbers(&lines), [(1, true), (3, false), (5, false), (6, false), (7, true)]);
        let reason = lines[1].order.as_ref().unwrap_err();
        assert_eq!(reason, "EOF while parsing a value (column 12)");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_reported_and_skipped() {
        let mut text = vec![b'x'; MAX_LINE + 1];
        text.push(b'\n');
        text.extend_from_slice(ORDER.as_bytes());
        let lines = read(&text).await;
        assert_eq!(numbers(&lines), [(1, false), (2, true)]);
        assert!(lines[0].order.as_ref().unwrap_err().starts_with("longer"));
        // The longest that fits is read as a whole.
        let padded = format!("{ORDER}{}\n", " ".repeat(MAX_LINE - ORDER.len()));
        assert_eq!(numbers(&read(padded.as_bytes()).await), [(1, true)]);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_malformed_and_reach_no_log() {
        let mut text = b"\xff\xfe{\n".to_vec();
        text.extend_from_slice(b"{\"order_id\\u001b[31m\":1}\n");
        let lines = read(&text).await;
        assert_eq!(numbers(&lines), [(1, false), (2, false)]);
        assert!(lines.iter().all(|line| !line.order.as_ref().unwrap_err().contains(char::is_control)));
    }
}
