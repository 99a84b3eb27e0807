//! Detection of jumps of the wall clock against the monotonic one: a machine that was resumed, a clock that was set.
//!
//! Certificates end by the wall clock; timers run on the monotonic one, which stands still while a machine is suspended
//! and knows nothing of a clock that is set. So a wait for the end of a certificate watches for a jump beside it, and
//! looks at the wall clock again after one.

use std::time::{Duration, SystemTime};

use avouch_time::clock::SharedClock;
use tokio::time::Instant;

/// The time between two comparisons of the clocks: a certificate that a jump has ended is noticed within it.
const LOOK: Duration = Duration::from_secs(1);
/// The largest difference that does not count as a jump: certificates' dates are in whole seconds, and the two clocks
/// are not read at once.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Compares the wall clock with the monotonic one, from its making or the last jump on.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    clock: SharedClock,
    wall: SystemTime,
    monotonic: Instant,
    look_at: Instant,
}

impl ClockWatch {
    /// Watches `clock` from now on.
    pub(crate) fn new(clock: SharedClock) -> Self {
        let (wall, monotonic) = (clock.now(), Instant::now());
        Self { clock, wall, monotonic, look_at: monotonic + LOOK }
    }

    /// Resolves when the clocks are more than a second further apart, in either direction, than they were at the
    /// beginning or at the last jump: a step, or a drift that has added up. Looks once per second.
    ///
    /// Dropped and called again it looks when it would have looked, however often that happens.
    pub(crate) async fn jumped(&mut self) {
        loop {
            tokio::time::sleep_until(self.look_at).await;
            if self.look() {
                return;
            }
        }
    }

    /// Whether the clocks have diverged by more than the tolerance since the beginning or the last jump; if so, what
    /// they show now is the new reference.
    fn look(&mut self) -> bool {
        let (wall, monotonic) = (self.clock.now(), Instant::now());
        self.look_at = monotonic + LOOK;
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let apart = match wall.duration_since(self.wall) {
            Ok(shown) => shown.abs_diff(passed),
            Err(back) => back.duration().saturating_add(passed),
        };
        let parted = apart > TOLERANCE;
        if parted {
            (self.wall, self.monotonic) = (wall, monotonic);
        }
        parted
    }
}

#[cfg(test)]
mod tests {
    use avouch_time::clock::{Clock as _, ManualClock};

    use super::*;

    fn clock() -> ManualClock {
        ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    /// Lets both clocks go on together.
    async fn pass(clock: &ManualClock, by: Duration) {
        clock.advance(by);
        tokio::time::advance(by).await;
    }

    async fn jumps_within(watch: &mut ClockWatch, time: Duration) -> bool {
        tokio::time::timeout(time, watch.jumped()).await.is_ok()
    }

    /// Whether a look finds the clocks apart that go on together.
    async fn jumps(clock: &ManualClock, watch: &mut ClockWatch) -> bool {
        let jumped = watch.jumped();
        tokio::pin!(jumped);
        for _ in 0..30 {
            tokio::select! {
                biased;
                () = &mut jumped => return true,
                () = pass(clock, Duration::from_millis(100)) => {}
            }
        }
        false
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_that_go_together_never_jump() {
        let clock = clock();
        let mut watch = ClockWatch::new(clock.shared());
        for _ in 0..100 {
            assert!(!jumps(&clock, &mut watch).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_forward_or_back_is_noticed_within_a_second_and_once() {
        let clock = clock();
        let mut watch = ClockWatch::new(clock.shared());
        let hour = Duration::from_secs(3600);
        let start = clock.now();
        for shown in [start + hour, start - hour, start, start + Duration::from_secs(20)] {
            assert!(!jumps(&clock, &mut watch).await, "before it is set");
            clock.set(shown);
            let began = Instant::now();
            assert!(jumps_within(&mut watch, LOOK).await, "{shown:?}");
            assert!(began.elapsed() <= LOOK);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_less_than_a_second_is_none_until_steps_add_up() {
        let clock = clock();
        let mut watch = ClockWatch::new(clock.shared());
        clock.advance(Duration::from_millis(700));
        assert!(!jumps(&clock, &mut watch).await);
        clock.advance(Duration::from_millis(700));
        assert!(jumps(&clock, &mut watch).await);
        assert!(!jumps(&clock, &mut watch).await, "the jump has been told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_stands_still_has_parted_too() {
        let mut watch = ClockWatch::new(clock().shared());
        assert!(jumps_within(&mut watch, Duration::from_secs(3)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_asked_anew_all_the_time_looks_all_the_same() {
        let clock = clock();
        let mut watch = ClockWatch::new(clock.shared());
        clock.advance(Duration::from_secs(60));
        let mut asked = 0;
        while !jumps_within(&mut watch, Duration::from_millis(300)).await {
            asked += 1;
            assert!(asked < 5, "never looked");
        }
        assert!(asked >= 3);
    }
}
