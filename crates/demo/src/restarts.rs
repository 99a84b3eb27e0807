//! Kills processes with SIGKILL and starts them again: at once, or only after their certificate has expired.

use std::time::Duration;

use avouch_time::clock::{Clock as _, SystemClock};

use crate::facts::Kill;
use crate::http::metric;
use crate::setup::{Market, SetupError};
use crate::wait;

/// How long after a process is ready again a call may still fail because of its death: its callers' channels have
/// to notice and to connect anew.
pub const AFTERMATH: Duration = Duration::from_secs(2);

/// When a killed process is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// As soon as it is dead.
    AtOnce,
    /// When the certificate it had has expired.
    UntilExpired,
}

/// Kills a process and starts it again; gives back when what happened.
///
/// # Errors
/// When it does not come back.
pub async fn kill(
    market: &Market,
    name: &str,
    down: Down,
    since_start: impl Fn() -> u64,
) -> Result<Kill, SetupError> {
    let expiry = if down == Down::UntilExpired { Some(expiry(market, name).await?) } else { None };
    let gone = || SetupError::Other(format!("{name} is not running, so it can't be killed"));
    let mut process = market.take(name).ok_or_else(gone)?;
    let killed_ms = since_start();
    let failed = |source| SetupError::System { action: format!("kill {name}"), source };
    process.kill().await.map_err(failed)?;
    if let Some(expiry) = expiry {
        let limit = Duration::from_secs(120);
        let expired = async || {
            let now = seconds();
            if now > expiry { Ok(()) } else { Err(format!("{:.1} s to go", expiry - now)) }
        };
        wait::until(&format!("the certificate of {name} expires"), limit, expired).await?;
    }
    let restarted_ms = since_start();
    market.again(name).await?;
    if name == "issuer" {
        market.admin_answers().await?;
    }
    Ok(Kill { party: name.to_owned(), killed_ms, restarted_ms, ready_ms: since_start(), failed_calls: 0 })
}

/// When the certificate of a process expires, by what it says itself; in seconds since the epoch.
async fn expiry(market: &Market, name: &str) -> Result<f64, SetupError> {
    let page = market.metrics(name).await?;
    let value = metric(&page, "avouch_svid_not_after_timestamp_seconds");
    value.ok_or_else(|| SetupError::Other(format!("{name} does not say when its certificate expires")))
}

fn seconds() -> f64 {
    SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
