//! What a service manager is told (`sd_notify(3)`), where there is one.
//!
//! Invariant: a process that does not serve yet says nothing; the end of a reload would be taken for readiness.

use sd_notify::NotifyState;

/// The process serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The process reloads; [`ready`] ends it.
pub(crate) fn reloading() {
    // systemd wants to know when, so that it can tell answers to older requests.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
    }
}

/// The process drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
