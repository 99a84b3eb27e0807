//! Keeps a channel connected: opens on demand, replaces before the end, backs off when it fails.
//!
//! A connection is replaced before the certificates it was made with end, and before the server retires it; the new
//! one is open before the old one is let go. Nothing reconnects while nobody calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::connect::Dial;
use super::failure::ConnectFailure;
use super::link::Link;
use super::{Phase, Shared};
use crate::jitter;
use crate::verify::Trust;

const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A connection that ended sooner than this counts as a failed attempt: a server that accepts and says goodbye at
/// once must not be asked in circles.
const SHORT_LIFE: Duration = Duration::from_millis(10);

/// Runs as long as the channel has handles.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut backoff = FIRST_BACKOFF;
    // After a keeper that died: nobody holds its connection, and whoever waits has to ask again.
    shared.link.store(None);
    shared.phase.send_replace(Phase::Idle);
    loop {
        shared.demand.notified().await;
        // One demand may have been answered by the connection opened for another.
        if shared.current().is_some() {
            continue;
        }
        while open(&shared, &mut backoff).await {}
    }
}

/// Opens one connection and holds it. Says whether the next one is wanted at once.
async fn open(shared: &Arc<Shared>, backoff: &mut Duration) -> bool {
    let replacing = shared.current().is_some();
    if !replacing {
        shared.phase.send_replace(Phase::Connecting);
    }
    match connect(shared).await {
        Ok(link) => {
            let began = tokio::time::Instant::now();
            let link = Arc::new(link);
            shared.publish(link.clone());
            let replace = hold(shared, &link).await;
            let never_taken = link.never_taken();
            if never_taken.is_some() || began.elapsed() < SHORT_LIFE {
                if shared.current().is_none() {
                    let failure =
                        never_taken.unwrap_or_else(|| ConnectFailure::said_goodbye(&link.circumstances));
                    shared.phase.send_replace(Phase::Down(Arc::new(failure)));
                }
                rest(shared, backoff).await;
            } else {
                *backoff = FIRST_BACKOFF;
            }
            replace
        }
        Err(failure) => {
            tracing::debug!(target = shared.authority.as_str(), reason = %failure.reason, "connection failed");
            if !replacing {
                shared.phase.send_replace(Phase::Down(Arc::new(failure)));
            }
            rest(shared, backoff).await;
            shared.current().is_some()
        }
    }
}

/// Lets a while pass after a failure; then the next demand is answered again.
async fn rest(shared: &Shared, backoff: &mut Duration) {
    tokio::time::sleep(jitter::around(*backoff, 0.2)).await;
    *backoff = (*backoff * 2).min(LONGEST_BACKOFF);
    if shared.current().is_none() {
        // Whoever still waits asks again now; a demand of those who have their answer opens nothing.
        tokio::select! {
            biased;
            () = shared.demand.notified() => {}
            () = std::future::ready(()) => {}
        }
        shared.phase.send_replace(Phase::Idle);
    }
}

/// Waits until the connection ends or must be replaced. Says whether to open the next one at once.
async fn hold(shared: &Shared, link: &Arc<Link>) -> bool {
    shared.used.store(false, Ordering::Relaxed);
    tokio::select! {
        () = link.closed() => {
            shared.withdraw(link.serial);
            false
        }
        () = shared.broken(link.serial) => false,
        () = tokio::time::sleep(jitter::around(link.use_for, 0.05).min(link.use_for)) => {
            let in_use = shared.used.load(Ordering::Relaxed);
            if !in_use {
                shared.withdraw(link.serial);
            }
            in_use
        }
    }
}

async fn connect(shared: &Shared) -> Result<Link, ConnectFailure> {
    let snapshot = shared.identity.snapshot();
    let dial = Dial {
        host: &shared.host,
        port: shared.port,
        svid: Some(&snapshot.svid),
        trust: Trust::Store(snapshot.trust.clone()),
        own_domain: Some(snapshot.svid.spiffe_id().trust_domain().clone()),
        filter: shared.expect.clone(),
        limits: shared.limits,
        clock: shared.identity.clock().clone(),
        difference: shared.identity.clock_difference(),
        timeout: shared.connect_timeout,
        binding: None,
    };
    dial.link(shared.keepalive).await
}
