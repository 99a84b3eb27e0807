//! What this process logs, by decision: the issuer's record of a refusal is a line of its audit log.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to note what is logged; ids do not repeat, so tests share one log.
pub(crate) fn begin() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt().json().with_writer(|| Log).init();
    });
}

/// The lines about one decision.
pub(crate) async fn of(decision: &str) -> serde_json::Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let text =
            String::from_utf8_lossy(&LINES.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        let found: Vec<serde_json::Value> = text
            .lines()
            .filter(|line| line.contains(decision))
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &serde_json::Value| line["fields"]["decision_id"] == decision)
            .collect();
        assert!(found.len() <= 1, "{decision} is there several times: {found:?}");
        if let Some(line) = found.into_iter().next() {
            return line["fields"].clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{decision} is not on record:\n{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
