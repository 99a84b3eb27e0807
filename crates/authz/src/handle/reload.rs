//! How a policy file comes into force: at the start, when somebody asks for it, and by itself when it changes.
//!
//! The three go by one rule, that of [`settled`](super::settled). At the start and when asked the file's own change time
//! counts for looks that nobody took: nobody waits for a file that has long been finished.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use avouch_spiffe::clock::{self, SharedClock};
use tokio::time::{Instant, sleep, timeout};

use super::file::{self, Content};
use super::history::InForce;
use super::settled::{Hash, Sight, Standing};
use super::{File, PolicyHandle};
use crate::methods::Methods;
use crate::policy::{Policy, PolicyError};

/// Time between two looks at a file that is not settled.
const AGAIN: Duration = Duration::from_millis(250);

/// A start or a reload does not wait longer for a file that keeps changing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A read that takes longer counts as failed: a mount whose server is away.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A file that has kept changing for so long is worth a warning.
const RESTLESS: Duration = Duration::from_secs(30);

/// What a reload found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The content is that of the policy in force.
    Unchanged,
    /// A new policy is in force.
    Changed {
        /// Its version.
        version: String,
    },
}

/// What came of one look; what is not good is an error, once.
#[derive(Debug)]
enum Look {
    InForce,
    Changed { version: String },
    Moving { since: Instant },
    Known,
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

    /// [`load`](Self::load), with the clock that tells since when a policy is in force and how old certificates are.
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
        let deadline = now() + PATIENCE;
        let mut parsed: Option<(Hash, Policy)> = None;
        loop {
            let began = now();
            let content = file::read(&file.path)?;
            // A bad file ends the start at once, finished or not.
            let policy = match parsed.take() {
                Some((hash, policy)) if hash == content.hash => policy,
                _ => file.parse(&content)?,
            };
            let standing = handle.settling().look(&content.sight(), (began, now()), true);
            match standing {
                Standing::Settled => {
                    handle.put_in_force(&content, policy);
                    return Ok(handle);
                }
                _ if now() >= deadline => return Err(PolicyError::Unsettled { path: file.path }),
                // A file that is known to be finished is read a second time all the same, but not waited for.
                Standing::Moving { .. } if content.is_quiet() => {}
                _ => thread::sleep(AGAIN),
            }
            parsed = Some((content.hash, policy));
        }
    }

    /// Reads the file again now and, if its content is another and good, puts it in force. The caller need not wait for
    /// what has not been touched for 2 s; for what has, this waits until it is settled.
    ///
    /// # Errors
    /// If it cannot be read or is not good, or keeps changing for 10 s; the policy in force stays.
    pub async fn reload(&self) -> Result<Reloaded, PolicyError> {
        let file = self.0.file.as_ref().ok_or(PolicyError::NoFile)?;
        let before = self.version();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look(file, true).await? {
                Look::Changed { version } => return Ok(Reloaded::Changed { version }),
                Look::InForce => {
                    // Somebody else, who watches, may have been faster.
                    let version = self.version().filter(|version| Some(version) != before.as_ref());
                    return Ok(version.map_or(Reloaded::Unchanged, |version| Reloaded::Changed { version }));
                }
                Look::Moving { .. } | Look::Known => {
                    if Instant::now() >= deadline {
                        return Err(PolicyError::Unsettled { path: file.path.clone() });
                    }
                    sleep(AGAIN).await;
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
        // Without a pause at all it would do nothing else.
        let interval = interval.max(Duration::from_millis(1));
        let mut warned = false;
        loop {
            let mut pause = interval;
            match self.look(file, false).await {
                Ok(Look::InForce | Look::Known) => warned = false,
                Ok(Look::Changed { version }) => {
                    warned = false;
                    tracing::info!(policy_version = %version, "a new policy is in force");
                }
                Ok(Look::Moving { since }) => {
                    pause = interval.min(AGAIN);
                    if !warned && since.elapsed() >= RESTLESS {
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

    async fn look(&self, file: &File, asked: bool) -> Result<Look, PolicyError> {
        let looking = Arc::clone(&self.0.looking);
        let path = file.path.clone();
        let read = async {
            let alone = looking.lock_owned().await;
            let began = Instant::now();
            // The lock goes with the thread: if nobody waits for it any more, nobody starts a second one either.
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
            // Known from its end on.
            Err(cause) => (None, Instant::now(), Err(unreadable(cause))),
        };
        let sight = match &read {
            Ok(content) => content.sight(),
            Err(error) => Sight::Nothing(error.to_string()),
        };
        let standing = self.settling().look(&sight, (began, Instant::now()), asked);
        match standing {
            Standing::InForce => {
                self.history().problem = None;
                Ok(Look::InForce)
            }
            Standing::Moving { since } => Ok(Look::Moving { since }),
            Standing::Known => Ok(Look::Known),
            Standing::Settled => self.judge(file, read).await,
        }
    }

    /// Puts in force what has settled, if it is good.
    async fn judge(&self, file: &File, read: Result<Content, PolicyError>) -> Result<Look, PolicyError> {
        let outcome = match read {
            Ok(content) => {
                let file = file.clone();
                let parsed = tokio::task::spawn_blocking(move || {
                    let policy = file.parse(&content)?;
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
                self.put_in_force(&content, policy);
                Ok(Look::Changed { version })
            }
            Err(error) => {
                self.settling().is_not_good();
                self.history().problem = Some(error.to_string());
                Err(error)
            }
        }
    }

    pub(super) fn put_in_force(&self, content: &Content, policy: Policy) {
        let policy = Arc::new(policy);
        self.0.current.store(Some(Arc::clone(&policy)));
        self.settling().is_in_force(content.hash, content.file);
        let mut history = self.history();
        history.problem = None;
        history.replace(InForce { policy, since: self.0.clock.now() });
    }
}

impl File {
    fn parse(&self, content: &Content) -> Result<Policy, PolicyError> {
        Policy::parse(&self.path.display().to_string(), &content.text, &self.methods)
    }
}

#[cfg(test)]
mod tests;
