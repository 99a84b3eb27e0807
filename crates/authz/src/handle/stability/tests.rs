//! The rule by tables: what each kind of writer lets others see, look by look, and when it is in force.

use super::*;

const OLD: FileId = FileId { device: 1, inode: 10 };
const NEW: FileId = FileId { device: 1, inode: 11 };

/// A policy file under the rule, with looks at given milliseconds.
struct Bench {
    start: Instant,
    stability: StabilityTracker,
}

impl Bench {
    /// With `content` in force, read from [`OLD`].
    fn with(content: u8) -> Self {
        let mut stability = StabilityTracker::default();
        stability.accept([content; 32], OLD);
        Self { start: Instant::now(), stability }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn look(&mut self, millis: u64, observed: &Observation) -> FileState {
        let at = self.at(millis);
        self.stability.look(observed, (at, at), false)
    }

    /// Looks one after the other; each but the last must be [`FileState::Changing`].
    fn settles(&mut self, looks: &[(u64, Observation)]) {
        let (last, before) = looks.split_last().unwrap();
        for (millis, observed) in before {
            let state = self.look(*millis, observed);
            assert!(matches!(state, FileState::Changing { .. }), "{state:?} at {millis} ms");
        }
        assert_eq!(self.look(last.0, &last.1), FileState::Settled, "at {} ms", last.0);
    }
}

/// Content of a file in which a write was the last that happened.
fn written(content: u8, file: FileId) -> Observation {
    Observation::Content { hash: [content; 32], file, finished: false, quiet: Duration::ZERO }
}

/// Content of a file in which something other than a write was the last that happened.
fn finished(content: u8, file: FileId) -> Observation {
    Observation::Content { hash: [content; 32], file, finished: true, quiet: Duration::ZERO }
}

fn gone() -> Observation {
    Observation::Unreadable("it is not there".to_owned())
}

#[test]
fn a_file_written_in_place_counts_when_it_has_been_the_same_for_two_seconds() {
    Bench::with(1).settles(&[
        (0, written(2, OLD)),
        (1000, written(2, OLD)),
        (1999, written(2, OLD)),
        (2000, written(2, OLD)),
    ]);
}

#[test]
fn a_writer_in_place_that_pauses_for_less_never_counts_before_its_end() {
    Bench::with(1).settles(&[
        (0, written(0, OLD)),
        (1000, written(0, OLD)),
        (1500, written(2, OLD)),
        (3400, written(2, OLD)),
        (3500, written(3, OLD)),
        (5400, written(3, OLD)),
        (5500, written(3, OLD)),
    ]);
}

#[test]
fn a_renamed_file_counts_at_one_further_equal_look() {
    Bench::with(1).settles(&[(0, finished(2, NEW)), (250, finished(2, NEW))]);
}

#[test]
fn a_file_put_in_the_place_of_a_removed_one_and_still_written_counts_as_written_in_place() {
    Bench::with(1).settles(&[
        (0, gone()),
        (250, written(0, NEW)),
        (500, written(2, NEW)),
        (1500, written(2, NEW)),
        (2000, written(3, NEW)),
        (3999, written(3, NEW)),
        (4000, written(3, NEW)),
    ]);
}

#[test]
fn a_file_that_grows_under_its_name_was_not_renamed_whatever_its_times_say() {
    // Its writer sets the mode, or the times, between two writes.
    Bench::with(1).settles(&[
        (0, written(2, NEW)),
        (250, finished(3, NEW)),
        (500, finished(3, NEW)),
        (2249, finished(3, NEW)),
        (2250, finished(3, NEW)),
    ]);
}

#[test]
fn the_file_in_force_written_in_place_is_not_taken_for_a_renamed_one_when_its_mode_is_set() {
    Bench::with(1).settles(&[(0, finished(2, OLD)), (1000, finished(2, OLD)), (2000, finished(2, OLD))]);
}

#[test]
fn after_a_rename_with_the_same_content_a_writer_in_place_is_one_in_place() {
    let mut bench = Bench::with(1);
    assert_eq!(bench.look(0, &finished(1, NEW)), FileState::Active);
    bench.settles(&[(250, finished(2, NEW)), (500, finished(2, NEW)), (2250, finished(2, NEW))]);
}

#[test]
fn a_second_rename_before_the_first_has_settled_begins_anew() {
    let third = FileId { device: 2, inode: 10 };
    Bench::with(1).settles(&[(0, finished(2, NEW)), (250, finished(3, third)), (500, finished(3, third))]);
}

#[test]
fn the_further_look_must_find_the_same_file_and_two_seconds_of_the_same_content_may_be_in_two() {
    let third = FileId { device: 2, inode: 10 };
    Bench::with(1).settles(&[
        (0, finished(2, NEW)),
        (250, written(2, third)),
        (500, written(2, third)),
        (2000, written(2, third)),
    ]);
}

#[test]
fn content_that_goes_back_to_what_is_in_force_leaves_nothing_behind() {
    let mut bench = Bench::with(1);
    assert!(matches!(bench.look(0, &written(2, OLD)), FileState::Changing { .. }));
    assert_eq!(bench.look(1900, &written(1, OLD)), FileState::Active);
    bench.settles(&[(1950, written(2, OLD)), (2100, written(2, OLD)), (3950, written(2, OLD))]);
}

#[test]
fn a_file_that_vanishes_for_a_moment_is_no_problem_and_one_that_stays_away_is_one_once() {
    let mut bench = Bench::with(1);
    assert!(matches!(bench.look(0, &gone()), FileState::Changing { .. }));
    assert_eq!(bench.look(1000, &written(1, NEW)), FileState::Active);
    bench.settles(&[(2000, gone()), (3999, gone()), (4000, gone())]);
    bench.stability.reject();
    assert_eq!(bench.look(9000, &gone()), FileState::AlreadyRejected);
}

#[test]
fn what_was_judged_not_good_is_judged_again_only_when_somebody_asks_or_it_changes() {
    let mut bench = Bench::with(1);
    bench.settles(&[(0, written(2, OLD)), (2000, written(2, OLD))]);
    bench.stability.reject();
    assert_eq!(bench.look(3000, &written(2, OLD)), FileState::AlreadyRejected);
    let at = bench.at(4000);
    assert_eq!(bench.stability.look(&written(2, OLD), (at, at), true), FileState::Settled);
    bench.stability.reject();
    bench.settles(&[(5000, written(3, OLD)), (7000, written(3, OLD))]);
}

#[test]
fn who_asks_does_not_wait_for_a_file_that_has_long_been_quiet_but_for_a_second_look() {
    let quiet = |millis| Observation::Content {
        hash: [2; 32],
        file: OLD,
        finished: false,
        quiet: Duration::from_millis(millis),
    };
    let mut bench = Bench::with(1);
    let (first, second) = (bench.at(10_000), bench.at(10_001));
    let moving = bench.stability.look(&quiet(60_000), (first, first), true);
    assert!(matches!(moving, FileState::Changing { .. }), "{moving:?}");
    assert_eq!(bench.stability.look(&quiet(60_001), (second, second), true), FileState::Settled);
    // Without a request only the looks themselves count, not the file's own times.
    Bench::with(1).settles(&[(0, quiet(60_000)), (1000, quiet(61_000)), (2000, quiet(62_000))]);
}

#[test]
fn who_asks_waits_for_the_rest_of_the_two_seconds() {
    let quiet = |millis| Observation::Content {
        hash: [2; 32],
        file: OLD,
        finished: false,
        quiet: Duration::from_millis(millis),
    };
    let mut bench = Bench::with(1);
    for millis in [500, 1000, 1400] {
        let at = bench.at(millis);
        let state = bench.stability.look(&quiet(millis), (at, at), true);
        assert!(matches!(state, FileState::Changing { .. }), "{state:?} at {millis} ms");
    }
    let at = bench.at(2000);
    assert_eq!(bench.stability.look(&quiet(2000), (at, at), true), FileState::Settled);
}

#[test]
fn a_read_that_hangs_is_no_time_in_which_content_was_the_same() {
    let mut bench = Bench::with(1);
    let look = |bench: &mut Bench, began, ended| {
        let times = (bench.at(began), bench.at(ended));
        bench.stability.look(&written(2, OLD), times, false)
    };
    assert!(matches!(look(&mut bench, 0, 3000), FileState::Changing { .. }));
    assert!(matches!(look(&mut bench, 3100, 9000), FileState::Changing { .. }), "read at 3100 perhaps");
    assert_eq!(look(&mut bench, 9100, 9100), FileState::Settled);
}

#[test]
fn how_long_a_file_has_kept_changing_is_told_from_the_first_change_on() {
    let mut bench = Bench::with(1);
    let since = bench.at(0);
    for round in 0..20_u8 {
        let millis = 1500 * u64::from(round);
        assert_eq!(bench.look(millis, &written(2 + round % 2, OLD)), FileState::Changing { since });
    }
    assert_eq!(bench.look(40_000, &written(1, OLD)), FileState::Active);
    let since = bench.at(41_000);
    assert_eq!(bench.look(41_000, &written(2, OLD)), FileState::Changing { since });
}

#[test]
fn without_a_policy_in_force_the_rule_is_the_same() {
    let bench = || Bench { start: Instant::now(), stability: StabilityTracker::default() };
    bench().settles(&[(0, finished(1, OLD)), (250, finished(1, OLD))]);
    bench().settles(&[(0, written(1, OLD)), (1900, written(1, OLD)), (2000, written(1, OLD))]);
    bench().settles(&[
        (0, gone()),
        (1000, written(1, OLD)),
        (2000, written(1, OLD)),
        (3000, written(1, OLD)),
    ]);
}
