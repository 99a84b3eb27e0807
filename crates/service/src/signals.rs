//! Signals: the first SIGTERM or SIGINT asks for a drain, the second one ends the process; SIGHUP reloads the policy.
//!
//! A dedicated thread listens for the stop signals. So the second signal ends the process even if all threads of the
//! runtime are blocked, `main` never returns, a flush waits, or the reader of the log has stopped reading.

use std::io;
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use avouch_authz::{PolicyHandle, Reloaded};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::{Lifecycle, Phase};
use crate::systemd;

/// How long writing the last log line may take: a log that nobody reads must not keep the process from ending.
const LAST_LINE: Duration = Duration::from_millis(200);

/// The token that the first signal cancels; the drain of everything in this process depends on it.
static ASKED_TO_STOP: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Whether the signal thread has been started.
static LISTENING: Mutex<bool> = Mutex::new(false);

/// Listens for stop signals from now on; the first one cancels the returned token.
///
/// Signal handlers are per process, and so is the thread: it is started once and never ends, since a signal that has a
/// handler does not kill the process any more.
///
/// # Errors
/// When the thread cannot be started or a handler cannot be installed.
pub(crate) fn listen() -> io::Result<CancellationToken> {
    let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    if !*listening {
        let (ready, outcome) = mpsc::channel();
        thread::Builder::new().name("signals".to_owned()).spawn(move || heed(&ready))?;
        // A thread that panicked sends no outcome; until its handlers are installed, signals kill the process.
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread for signals has died")))?;
        *listening = true;
    }
    Ok(ASKED_TO_STOP.child_token())
}

/// Installs the handlers, reports the outcome on `ready`, and then handles signals for ever.
fn heed(ready: &mpsc::Sender<io::Result<()>>) {
    // Sending cannot fail: `listen` waits for the outcome.
    let tell = |outcome| drop(ready.send(outcome));
    // A runtime of its own: all threads of the process's runtime may be blocked.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(error)),
    };
    runtime.block_on(async {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => {
                tell(Ok(()));
                stop_and_end(terminate, interrupt).await;
            }
            (Err(error), _) | (_, Err(error)) => tell(Err(error)),
        }
    });
}

async fn stop_and_end(mut terminate: Signal, mut interrupt: Signal) {
    let mut next = async || {
        // Two signals that arrive together may be handled in either order.
        tokio::select! {
            _ = terminate.recv() => (SignalKind::terminate(), "SIGTERM"),
            _ = interrupt.recv() => (SignalKind::interrupt(), "SIGINT"),
        }
    };
    let (_, name) = next().await;
    ASKED_TO_STOP.cancel();
    log(move || tracing::info!(signal = name, "stopping"));
    let (kind, name) = next().await;
    let code = 128 + kind.as_raw_value();
    let written = log(move || {
        tracing::warn!(signal = name, exit_code = code, "second signal: the process ends at once");
    });
    // The process ends whether or not the line was written in time.
    let _ = written.recv_timeout(LAST_LINE);
    std::process::exit(code);
}

/// Logs on another thread, which the log's reader may block for ever; the returned receiver tells when the line is
/// written.
fn log(line: impl FnOnce() + Send + 'static) -> mpsc::Receiver<()> {
    let (done, waiting) = mpsc::channel();
    let written = move || {
        line();
        // Usually nobody receives this.
        let _ = done.send(());
    };
    // Without a thread the line is lost; the signal is handled all the same.
    let _ = thread::Builder::new().name("signals-log".to_owned()).spawn(written);
    waiting
}

/// Reloads the policy on each SIGHUP until `stop`.
pub(crate) fn reload_on_hangup(
    policy: PolicyHandle,
    lifecycle: Lifecycle,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // Any order: a reload that begins as the process stops is cut short below.
                () = stop.cancelled() => return,
                received = hangup.recv() => if received.is_none() { return },
            }
            if lifecycle.phase() == Phase::Serving {
                systemd::reloading();
            }
            // A reload waits for a file that is still being written; the drain does not wait for the reload.
            if stop.run_until_cancelled(reload(&policy)).await.is_none() {
                return;
            }
            if lifecycle.phase() == Phase::Serving {
                systemd::ready();
            }
        }
    });
    Ok(())
}

async fn reload(policy: &PolicyHandle) {
    if policy.path().is_none() {
        tracing::info!("SIGHUP: there is no policy file to reload");
        return;
    }
    match policy.reload().await {
        Ok(Reloaded::Changed { version }) => {
            tracing::info!(policy_version = %version, "SIGHUP: a new policy is in force");
        }
        Ok(Reloaded::Unchanged) => tracing::info!("SIGHUP: the policy has not changed"),
        Err(error) => tracing::error!(
            %error,
            help = error.file().map(|file| format!("`avouch policy check {file}` shows each place")),
            policy_in_force = policy.current().as_ref().map(|policy| policy.version()),
            "SIGHUP: the policy file is not good; the last good policy stays in force"
        ),
    }
}
