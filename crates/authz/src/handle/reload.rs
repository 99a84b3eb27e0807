//! How the content of a policy file becomes the active policy: at the start, on request, and by itself when it changes.
//!
//! The three go by one rule, that of [`stability`](super::stability). At the start and on request the file's own change time
//! stands in for the looks that were not taken: nobody waits for a file that has long been finished.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use avouch_time::clock::{self, SharedClock};
use tokio::time::{Instant, sleep, timeout};

use super::file::{self, Content};
use super::history::ActivePolicy;
use super::stability::{FileState, Hash, Observation};
use super::{File, PolicyHandle};
use crate::methods::Methods;
use crate::policy::{Policy, PolicyError};

/// Time between two looks at a file that is still changing: a fraction of [`STABLE_FOR`](super::stability::STABLE_FOR), so
/// that a settled file waits little longer than that.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The longest that a start or a reload waits for a file that keeps changing.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A read that takes longer counts as failed: a mount whose server is away.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A file that has kept changing for this long is worth a warning.
const WARN_AFTER: Duration = Duration::from_secs(30);

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The content is that of the active policy.
    Unchanged,
    /// A new policy is active.
    Changed {
        /// The new policy's version.
        version: String,
    },
}

/// The result of one look at the file; content that is not good is an error, once.
#[derive(Debug)]
enum Look {
    Active,
    Changed { version: String },
    Changing { since: Instant },
    AlreadyRejected,
}

impl PolicyHandle {
    /// Loads the policy at `path`. Blocks: for up to 2 s if the file was written in place within the last 2 s, for up to
    /// 10 s if it keeps changing.
    ///
    /// # Errors
    /// If it cannot be read or is not good, at once; if it keeps changing.
    pub fn load(path: impl Into<PathBuf>, methods: Methods) -> Result<Self, PolicyError> {
        Self::load_by(clock::system(), path, methods)
    }

    /// [`load`](Self::load), with the clock that tells since when a policy is active and how old certificates are.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_by(
        clock: SharedClock,
        path: impl Into<PathBuf>,
        methods: Methods,
    ) -> Result<Self, PolicyError> {
        let file = File { path: path.into(), methods };
        let handle = Self::new(clock, None, Some(file.clone()));
        // Not tokio's clock, which tests stop: this waits for a file.
        let now = || Instant::from_std(std::time::Instant::now());
        let deadline = now() + SETTLE_TIMEOUT;
        let mut parsed: Option<(Hash, Policy)> = None;
        loop {
            let began = now();
            let content = file::read(&file.path)?;
            // A bad file ends the start at once, finished or not.
            let policy = match parsed.take() {
                Some((hash, policy)) if hash == content.hash => policy,
                _ => file.load(&content)?,
            };
            let state = handle.stability().look(&content.observed(), (began, now()), true);
            match state {
                FileState::Settled => {
                    handle.activate(&content, policy);
                    return Ok(handle);
                }
                _ if now() >= deadline => return Err(PolicyError::Unsettled { path: file.path }),
                // A file that is known to be finished is read a second time all the same, but not waited for.
                FileState::Changing { .. } if content.is_quiet() => {}
                _ => thread::sleep(LOOK_AGAIN_AFTER),
            }
            parsed = Some((content.hash, policy));
        }
    }

    /// Reads the file again now and, if its content has changed and is good, activates it. A file that has been touched
    /// within the last 2 s is waited for until it has settled.
    ///
    /// # Errors
    /// If it cannot be read or is not good, or keeps changing for 10 s; the active policy stays.
    pub async fn reload(&self) -> Result<Reloaded, PolicyError> {
        let file = self.0.file.as_ref().ok_or(PolicyError::NoFile)?;
        let before = self.version();
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            match self.look(file, true).await? {
                Look::Changed { version } => return Ok(Reloaded::Changed { version }),
                Look::Active => {
                    // The task that watches the file may have been faster.
                    let version = self.version().filter(|version| Some(version) != before.as_ref());
                    return Ok(version.map_or(Reloaded::Unchanged, |version| Reloaded::Changed { version }));
                }
                Look::Changing { .. } | Look::AlreadyRejected => {
                    if Instant::now() >= deadline {
                        return Err(PolicyError::Unsettled { path: file.path.clone() });
                    }
                    sleep(LOOK_AGAIN_AFTER).await;
                }
            }
        }
    }

    fn version(&self) -> Option<String> {
        self.current().map(|policy| policy.version().to_owned())
    }

    /// Looks at the file every `interval`, and more often while it changes, for ever; run it as a task. It compares
    /// content, not dates, so it works on file systems that tell nothing; each new policy and each new kind of failure is
    /// logged once.
    pub async fn watch(self, interval: Duration) {
        let Some(file) = self.0.file.as_ref() else { return };
        // An interval of zero would make this a busy loop.
        let interval = interval.max(Duration::from_millis(1));
        let mut warned = false;
        loop {
            let mut pause = interval;
            match self.look(file, false).await {
                Ok(Look::Active | Look::AlreadyRejected) => warned = false,
                Ok(Look::Changed { version }) => {
                    warned = false;
                    tracing::info!(policy_version = %version, "a new policy is in force");
                }
                Ok(Look::Changing { since }) => {
                    pause = interval.min(LOOK_AGAIN_AFTER);
                    if !warned && since.elapsed() >= WARN_AFTER {
                        warned = true;
                        let error = PolicyError::Unsettled { path: file.path.clone() };
                        self.history().problem = Some(error.to_string());
                        tracing::warn!(%error, "the policy file keeps changing; the last good policy stays in force");
                    }
                }
                Err(error) => {
                    warned = false;
                    tracing::error!(
                        %error,
                        help = error.file().map(|file| format!("`avouch policy check {file}` shows each place")),
                        policy_in_force = self.current().as_ref().map(|policy| policy.version()),
                        "the policy file is not good; the last good policy stays in force"
                    );
                }
            }
            sleep(pause).await;
        }
    }

    async fn look(&self, file: &File, on_request: bool) -> Result<Look, PolicyError> {
        let lock = Arc::clone(&self.0.look_lock);
        let path = file.path.clone();
        let read = async {
            let alone = lock.lock_owned().await;
            let began = Instant::now();
            // The lock is moved into the thread: after a timeout the read may still hang, and no second one is started
            // then.
            let read = move || (alone, began, file::read(&path));
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)
        };
        let read = timeout(READ_TIMEOUT, read).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", READ_TIMEOUT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        let unreadable = |cause| PolicyError::Unreadable { path: file.path.clone(), cause };
        let (_alone, began, read) = match read {
            Ok((alone, began, read)) => (Some(alone), began, read),
            // A read that failed counts from its end on.
            Err(cause) => (None, Instant::now(), Err(unreadable(cause))),
        };
        let observed = match &read {
            Ok(content) => content.observed(),
            Err(error) => Observation::Unreadable(error.to_string()),
        };
        let state = self.stability().look(&observed, (began, Instant::now()), on_request);
        match state {
            FileState::Active => {
                self.history().problem = None;
                Ok(Look::Active)
            }
            FileState::Changing { since } => Ok(Look::Changing { since }),
            FileState::AlreadyRejected => Ok(Look::AlreadyRejected),
            FileState::Settled => self.activate_if_good(file, read).await,
        }
    }

    /// Activates content that has settled, if it is good.
    async fn activate_if_good(
        &self,
        file: &File,
        read: Result<Content, PolicyError>,
    ) -> Result<Look, PolicyError> {
        let outcome = match read {
            Ok(content) => {
                let file = file.clone();
                let parsed = tokio::task::spawn_blocking(move || {
                    let policy = file.load(&content)?;
                    Ok((content, policy))
                });
                let unreadable = |cause| PolicyError::Unreadable {
                    path: self.path().unwrap_or_else(|| "".as_ref()).to_owned(),
                    cause: io::Error::other(cause),
                };
                parsed.await.map_err(unreadable).flatten()
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok((content, policy)) => {
                let version = policy.version().to_owned();
                self.activate(&content, policy);
                Ok(Look::Changed { version })
            }
            Err(error) => {
                self.stability().reject();
                self.history().problem = Some(error.to_string());
                Err(error)
            }
        }
    }

    pub(super) fn activate(&self, content: &Content, policy: Policy) {
        let policy = Arc::new(policy);
        self.0.current.store(Some(Arc::clone(&policy)));
        self.stability().accept(content.hash, content.file);
        let mut history = self.history();
        history.problem = None;
        history.replace(ActivePolicy { policy, since: self.0.clock.now() });
    }
}

impl File {
    fn load(&self, content: &Content) -> Result<Policy, PolicyError> {
        Policy::load(&self.path.display().to_string(), &content.text, &self.methods)
    }
}

#[cfg(test)]
mod tests;
