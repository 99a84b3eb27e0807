//! Waiting for a condition, with a deadline. Nothing in the demo waits for a length of time in the hope that
//! something has happened by then.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(25);

/// A condition that did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("{what}: not within {limit:?}; last seen: {last}")]
pub struct TooLate {
    what: String,
    limit: Duration,
    last: String,
}

/// Looks at `condition` until it gives a value. What it says meanwhile goes into the error.
///
/// # Errors
/// When `limit` has passed.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TooLate> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match condition().await {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if Instant::now() >= deadline {
            return Err(TooLate { what: what.to_owned(), limit, last });
        }
        sleep(EVERY).await;
    }
}

/// As [`until`], for a condition that may also turn out to be hopeless: the outer error ends the waiting at once.
///
/// # Errors
/// What made it hopeless, or that `limit` has passed.
pub async fn try_until<T, E: From<TooLate>>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<Result<T, String>, E>,
) -> Result<T, E> {
    let outcome = until(what, limit, async || match condition().await {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(last)) => Err(last),
        Err(hopeless) => Ok(Err(hopeless)),
    });
    outcome.await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_last_is_in_the_error() {
        let mut looks = 0;
        let error = until::<()>("the sun rises", Duration::from_secs(2), async || {
            looks += 1;
            Err(format!("dark {looks}"))
        })
        .await
        .unwrap_err();
        assert!(error.to_string().starts_with("the sun rises: not within 2s; last seen: dark "), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_comes_true_ends_the_waiting() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(2), async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(String::new()) }
        });
        assert_eq!(value.await.unwrap(), 3);
    }
}
