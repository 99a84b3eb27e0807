//! Ctrl-C and SIGTERM: the first one ends what the demo has started in order, a second one ends the demo at once, and the
//! kernel its processes with it ([`crate::launch`]).
//!
//! A thread of its own listens, since the demo's one thread may be at work that does not let go of it.

use std::io::{self, Write as _};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::setup::SetupError;

/// How long the last line may take.
const LAST_LINE: Duration = Duration::from_millis(200);

/// The first signal that was received, if any.
static FIRST: LazyLock<watch::Sender<Option<&'static str>>> = LazyLock::new(|| watch::Sender::new(None));

/// Whether the thread is there.
static LISTENING: Mutex<bool> = Mutex::new(false);

/// Ctrl-C, or SIGTERM.
///
/// # Errors
/// Always: after the first signal, or when signals cannot be listened for.
pub async fn interrupted() -> SetupError {
    if let Err(source) = listen() {
        return SetupError::System { action: "listen for signals".into(), source };
    }
    let mut first = FIRST.subscribe();
    match first.wait_for(Option::is_some).await.map(|name| *name) {
        Ok(Some(name)) => SetupError::Stopped(name),
        // The sender is static, and the condition has held.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Starts the thread, once: from then on signals do not kill, so it stays.
fn listen() -> io::Result<()> {
    let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    if !*listening {
        let (ready, outcome) = mpsc::channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || heed(&ready))?;
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread for signals has died")))?;
        *listening = true;
    }
    Ok(())
}

fn heed(ready: &mpsc::Sender<io::Result<()>>) {
    // Whoever waits for the outcome has not gone.
    let tell = |outcome| drop(ready.send(outcome));
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
        tokio::select! {
            _ = terminate.recv() => (SignalKind::terminate(), "SIGTERM"),
            _ = interrupt.recv() => (SignalKind::interrupt(), "Ctrl-C"),
        }
    };
    let (_, name) = next().await;
    FIRST.send_replace(Some(name));
    let (kind, name) = next().await;
    let (done, written) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = writeln!(io::stderr(), "\navouch-demo: a second signal ({name}): everything ends at once");
        let _ = done.send(());
    });
    // A terminal whose output is stopped (Ctrl-S) must not keep the demo from ending.
    let _ = written.recv_timeout(LAST_LINE);
    std::process::exit(128 + kind.as_raw_value());
}
