//! Signals: TERM and INT ask for a drain, a second one ends it; HUP reloads the policy.

use avouch_authz::{PolicyHandle, Reloaded};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::manager;
use crate::phase::{Life, Phase};

/// What a process has been asked to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Finish what is under way and stop.
    pub(crate) drain: CancellationToken,
    /// Stop at once.
    pub(crate) now: CancellationToken,
}

/// Listens for signals to stop from now on.
pub(crate) fn listen(stop: Stop) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            if stop.drain.is_cancelled() {
                tracing::warn!(signal = name, "second signal: stopping at once");
                stop.now.cancel();
                return;
            }
            tracing::info!(signal = name, "stopping");
            stop.drain.cancel();
        }
    });
    Ok(())
}

/// Reloads the policy on each SIGHUP until `stop`.
pub(crate) fn reload_on_hangup(
    policy: PolicyHandle,
    life: Life,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                received = hangup.recv() => if received.is_none() { return },
            }
            if life.phase() == Phase::Serving {
                manager::reloading();
            }
            // It waits for a file that is being written, and a drain does not wait for it.
            if stop.run_until_cancelled(reload(&policy)).await.is_none() {
                return;
            }
            if life.phase() == Phase::Serving {
                manager::ready();
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
