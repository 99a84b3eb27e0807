//! Supervision of tasks that never end by themselves: one that does is logged as an error and begun again.
//!
//! Without this a panic would end the task unnoticed, until a certificate that it should have renewed expires.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

/// The pause before a task that died is begun again; it doubles each time, so that one that dies at once does not spin.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause; a task that ran for longer than this begins with the first pause again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs `begin` again and again; `died` hears of each end. Aborting the task ends what runs.
pub(crate) fn keep_running<F>(
    what: &'static str,
    begin: impl Fn() -> F + Send + 'static,
    died: impl Fn(&'static str) + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = tokio::time::Instant::now();
            let how = match AbortOnDropHandle::new(tokio::spawn(begin())).await {
                Ok(()) => "it returned",
                Err(error) if error.is_panic() => "it panicked",
                // The runtime is going down, and this task with it.
                Err(_cancelled) => return,
            };
            tracing::error!(task = what, how, "a task that never ends has died and is begun again");
            died(how);
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_or_returns_is_told_and_begun_again_and_never_in_a_hurry() {
        let (told, mut heard) = mpsc::unbounded_channel();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let begin = move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run.is_multiple_of(2), "every second run panics") }
        };
        let began = tokio::time::Instant::now();
        let _task = AbortOnDropHandle::new(keep_running("a test", begin, move |how| {
            let _ = told.send(how);
        }));
        for expected in ["it returned", "it panicked", "it returned", "it panicked"] {
            assert_eq!(heard.recv().await, Some(expected));
        }
        assert!(began.elapsed() >= FIRST_PAUSE * 7, "{:?}", began.elapsed());
        assert!(runs.load(Ordering::SeqCst) <= 5);
    }

    #[tokio::test]
    async fn who_lets_go_ends_what_runs() {
        let (running, mut ended) = mpsc::channel::<()>(1);
        let begin = move || {
            let running = running.clone();
            async move {
                let _held = running;
                std::future::pending().await
            }
        };
        let task = AbortOnDropHandle::new(keep_running("a test", begin, |_| {}));
        tokio::task::yield_now().await;
        drop(task);
        let end = tokio::time::timeout(Duration::from_secs(10), ended.recv()).await;
        assert_eq!(end, Ok(None), "the task goes on without its owner");
    }
}
