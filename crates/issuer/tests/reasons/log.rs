//! What this process logs, by decision: the issuer's record of a refusal is a line of its audit log.

use std::sync::{LazyLock, OnceLock};

use avouch_testkit::log::Log;

static LOG: LazyLock<Log> = LazyLock::new(Log::default);

/// Begins to note what is logged; ids do not repeat, so tests share one log.
pub(crate) fn begin() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt().json().with_writer(LOG.clone()).init();
    });
}

/// The lines about one decision.
pub(crate) async fn of(decision: &str) -> serde_json::Value {
    let what = format!("the record of {decision}");
    avouch_testkit::wait::eventually(&what, async || {
        let text = LOG.text();
        let found: Vec<serde_json::Value> = text
            .lines()
            .filter(|line| line.contains(decision))
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &serde_json::Value| line["fields"]["decision_id"] == decision)
            .collect();
        assert!(found.len() <= 1, "{decision} is there several times: {found:?}");
        found.into_iter().next().map(|line| line["fields"].clone())
    })
    .await
}
