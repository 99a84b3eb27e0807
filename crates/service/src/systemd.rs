//! State notifications to the service manager (`sd_notify(3)`), where there is one.
//!
//! Invariant: nothing is sent before the process serves, since the end of a reload would be taken for readiness.

use sd_notify::NotifyState;

/// Tells the service manager that the process is ready (`READY=1`); this also ends a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager that the process reloads; [`ready`] ends the reload.
pub(crate) fn reloading() {
    // systemd requires the time of the notification, to tell the answers to an older request from those to this one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
    }
}

/// Tells the service manager that the process drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
