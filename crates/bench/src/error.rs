//! What keeps a benchmark from being run to its end.

use std::io;

/// The error of a benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something.
    #[error("cannot {action}")]
    System {
        /// What was to be done.
        action: String,
        /// Why it was not.
        source: io::Error,
    },
    /// A process that is measured ended, did not answer in time, or answered something else than was asked for.
    #[error("{name}: {what} (its log: {log})")]
    Child {
        /// The process.
        name: String,
        /// What it did.
        what: String,
        /// The path of its log.
        log: String,
    },
    /// The run makes no sense as it was asked for, or a peer cannot do what is measured.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// For `map_err`: the system refused to do `action`.
    pub fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// An error that is a sentence.
    pub fn other(what: impl Into<String>) -> Self {
        Self::Other(what.into())
    }
}
