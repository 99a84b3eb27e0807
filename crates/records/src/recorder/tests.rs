//! Which records are kept, which are lost and counted, and who is notified.

use std::time::Instant;

use avouch_api::observe::v1::Filter;
use avouch_authz::layer::{DecisionIds, DecisionObserver as _};

use super::*;
use crate::config::FileConfig;
use crate::testing::{methods, peer, permit};
use crate::watch::WAITING;

const ENROLL: &str = "/avouch.issuer.v1.Issuer/Enroll";

fn recorder(keep: usize) -> Recorder {
    Recorder::builder(RecordsConfig { keep, file: None }, methods()).start().unwrap()
}

fn refuse(recorder: &Recorder, peer: Option<&Arc<PeerIdentity>>, detail: usize) {
    let id = DecisionIds::seeded(detail as u64).next();
    recorder.refused(ENROLL, Reason::NoMatchingEntry, detail.to_string(), id, (None, peer), 0);
}

fn extensions(peer: &Arc<PeerIdentity>) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(Arc::clone(peer));
    extensions
}

fn all(recorder: &Recorder) -> Vec<avouch_api::observe::v1::Decision> {
    let records = recorder.list(&Matcher::default(), usize::MAX);
    records.into_iter().filter_map(|record| record.decision).collect()
}

#[test]
fn a_refusal_is_there_the_moment_after_it_was_told_and_of_many_the_latest() {
    let recorder = recorder(10);
    for at in 0..100 {
        refuse(&recorder, None, at);
        assert_eq!(all(&recorder).last().unwrap().detail, at.to_string());
    }
    let details: Vec<_> = all(&recorder).into_iter().map(|decision| decision.detail).collect();
    assert_eq!(details, (90..100).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(recorder.list(&Matcher::default(), 3).len(), 3);
    assert_eq!(recorder.state().dropped, 0);
}

#[test]
fn a_flood_of_one_caller_hides_nobody_elses_refusals_and_no_number_of_allowed_calls_does() {
    let recorder = recorder(10);
    let (flood, quiet, busy) = (peer("flood"), peer("quiet"), peer("busy"));
    refuse(&recorder, Some(&quiet), 7);
    for at in 0..5_000 {
        refuse(&recorder, Some(&flood), at);
        if at % 500 == 0 {
            let _ = all(&recorder);
        }
    }
    let (permit, extensions) = (permit(&busy), extensions(&busy));
    for _ in 0..20_000 {
        recorder.allowed(&permit, &extensions);
    }
    let decisions = all(&recorder);
    let of = |verdict: &str, peer: &PeerIdentity| {
        decisions.iter().filter(|d| d.verdict == verdict && d.peer == peer.spiffe_id().as_str()).count()
    };
    assert_eq!((of("refused", &quiet), of("refused", &flood), of("allowed", &busy)), (1, 9, 10));
}

#[test]
fn a_full_queue_is_counted_and_the_caller_goes_on() {
    let recorder = recorder(10);
    let peer = peer("busy");
    let (permit, extensions) = (permit(&peer), extensions(&peer));
    // Nobody collects meanwhile.
    let memory = recorder.0.memory.lock().unwrap();
    for at in 0..QUEUE + 7 {
        refuse(&recorder, None, at);
        recorder.allowed(&permit, &extensions);
    }
    drop(memory);
    assert_eq!(recorder.state().dropped, 7, "of the allowed only the latest are wanted: none is lost");
    assert_eq!(all(&recorder).len(), 20);
}

#[test]
fn allowed_calls_that_were_to_be_told_and_could_not_be_are_counted() {
    let recorder = recorder(10);
    let peer = peer("busy");
    let (permit, extensions) = (permit(&peer), extensions(&peer));
    let watching = recorder.watch(Matcher::default());
    let memory = recorder.0.memory.lock().unwrap();
    for _ in 0..QUEUE + 5 {
        recorder.allowed(&permit, &extensions);
    }
    drop(memory);
    assert_eq!(recorder.state().dropped, 5);
    drop(watching);
    let _ = all(&recorder);
    let memory = recorder.0.memory.lock().unwrap();
    for _ in 0..QUEUE + 5 {
        recorder.allowed(&permit, &extensions);
    }
    drop(memory);
    assert_eq!(recorder.state().dropped, 5, "nobody wants them any more");
}

#[test]
fn a_slow_watcher_misses_records_and_is_told_how_many_and_a_filter_spares_it_the_rest() {
    let recorder = recorder(10);
    let peer = peer("busy");
    let (permit, extensions) = (permit(&peer), extensions(&peer));
    let filter = |refused_only| Matcher::from(&Filter { refused_only, about: String::new() });
    let (mut slow, mut choosy) = (recorder.watch(filter(false)), recorder.watch(filter(true)));
    for _ in 0..3 {
        for _ in 0..WAITING / 2 {
            recorder.allowed(&permit, &extensions);
        }
        let _ = all(&recorder);
    }
    refuse(&recorder, None, 1);
    let _ = all(&recorder);
    let mut taken = 0;
    while let Ok((_, missed)) = slow.try_recv() {
        assert_eq!(missed, 0);
        taken += 1;
    }
    assert_eq!(taken, WAITING);
    refuse(&recorder, None, 2);
    let _ = all(&recorder);
    assert_eq!(slow.try_recv().unwrap().1, (WAITING / 2) as u64 + 1);
    refuse(&recorder, None, 3);
    let _ = all(&recorder);
    assert_eq!(slow.try_recv().unwrap().1, 0, "told once");
    let seen: Vec<_> = std::iter::from_fn(|| choosy.try_recv().ok()).collect();
    assert_eq!(seen.iter().map(|seen| seen.1).collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn a_watcher_is_told_of_calls_from_its_beginning_on_and_earlier_ones_are_still_listed() {
    let recorder = recorder(10);
    let peer = peer("busy");
    let (permit, extensions) = (permit(&peer), extensions(&peer));
    for _ in 0..3 {
        recorder.allowed(&permit, &extensions);
    }
    let mut watcher = recorder.watch(Matcher::default());
    drop(recorder.0.collect());
    assert!(watcher.try_recv().is_err(), "these were before it");
    recorder.allowed(&permit, &extensions);
    drop(recorder.0.collect());
    assert!(watcher.try_recv().is_ok() && watcher.try_recv().is_err());
    assert_eq!(all(&recorder).len(), 4);
}

#[test]
fn an_allowed_call_is_remembered_with_what_allowed_it_and_its_trace() {
    let builder = Recorder::builder(RecordsConfig::default(), methods());
    let recorder = builder.trace(|| Some([0xab; 16])).start().unwrap();
    let peer = peer("operator");
    recorder.allowed(&permit(&peer), &extensions(&peer));
    let decision = all(&recorder).pop().unwrap();
    assert_eq!((decision.verdict.as_str(), decision.method.as_str()), ("allowed", crate::testing::STATUS));
    assert_eq!(
        (decision.need.join(" "), decision.have.join(" ")),
        ("debug operator".into(), "operator".into())
    );
    assert_eq!(decision.trace_id, "ab".repeat(16));
    for about in [decision.trace_id.as_str(), peer.spiffe_id().as_str(), &peer.serial().to_uppercase()] {
        let matcher = Matcher::from(&Filter { refused_only: false, about: about.to_owned() });
        assert_eq!(recorder.list(&matcher, usize::MAX).len(), 1, "{about}");
        let matcher = Matcher::from(&Filter { refused_only: true, about: about.to_owned() });
        assert!(recorder.list(&matcher, usize::MAX).is_empty(), "{about}");
    }
    for about in ["cd".repeat(16).as_str(), "spiffe://shop.example/other", "d-0011223344556677", "192.0.2.1"]
    {
        let matcher = Matcher::from(&Filter { refused_only: false, about: about.to_owned() });
        assert!(recorder.list(&matcher, usize::MAX).is_empty(), "{about}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_of_and_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent/records.jsonl");
    let file = FileConfig { path: path.clone(), rotate_bytes: 1_000_000, rotate_keep: 1, allowed: false };
    let config = RecordsConfig { keep: 10, file: Some(file) };
    let recorder = Recorder::builder(config, methods()).start().unwrap();
    refuse(&recorder, None, 1);
    recorder.finish();
    let state = recorder.state();
    assert_eq!(state.file, path.display().to_string());
    assert!(state.problem.contains("No such file"), "{state:?}");
    assert_eq!(all(&recorder).len(), 1);
    std::fs::create_dir(directory.path().join("absent")).unwrap();
    recorder.finish();
    assert_eq!(recorder.state().problem, "");
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let recorder = recorder(10);
    let weak = Arc::downgrade(&recorder.0);
    drop(recorder);
    let deadline = Instant::now() + Duration::from_secs(10);
    while weak.strong_count() > 0 {
        assert!(Instant::now() < deadline, "something keeps the recorder");
        std::thread::yield_now();
    }
}
