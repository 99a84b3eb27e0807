//! What every scenario stands on: an engine, images of our own programs, a private network, containers that are
//! watched and removed.
//!
//! Invariants: names are unique to a run, so runs do not meet; waiting is for a condition, with a deadline; whatever
//! way a scenario ends (pass, failure, panic, interrupt), nothing of it stays in the engine, and when it did not pass
//! every container's output is kept under `target/integration-tests/`. What a killed run left is swept by the next.

mod engine;
mod faults;
mod images;
mod node;
mod scenario;

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use images::{image, root};
pub(crate) use node::{Finished, Node, NodeSpec};
pub(crate) use scenario::{Network, Volume, World, scenario};

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a scenario did not pass, in words.
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

// The test runner shows a returned error by its Debug form.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Asks `probe` until it has an answer; after `patience`, the failure says `what` did not come.
pub(crate) async fn eventually<T, F>(
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> F,
) -> Outcome<T>
where
    F: Future<Output = Outcome<Option<T>>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("{what}: not within {patience:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// For tests of the images themselves: builds them; whether there is an engine to ask.
pub(crate) async fn images_ready(test: &str) -> Outcome<bool> {
    if engine::answering(test).await?.is_none() {
        return Ok(false);
    }
    images::ready().await?;
    Ok(true)
}

/// Fails with `message` unless `condition` holds.
pub(crate) fn ensure(condition: bool, message: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(message)) }
}
