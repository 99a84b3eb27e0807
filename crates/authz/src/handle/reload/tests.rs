//! Reloads of real files with real writers, while tokio's clock stands still except for those that wait.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::stability::STABLE_FOR;
use super::*;
use crate::decide::Caller;
use crate::policy::MAX_POLICY_BYTES;
use crate::testing::{age, id, methods, rename_into_place};

const POST: &str = "/shop.v1.Ledger/Post";
const ROLES: &str = "[roles]\nledger-writer = [\"spiffe://shop.example/*\"]\n";
const DENY: &str = "[[deny]]\ncaller = \"spiffe://shop.example/payments\"\n";

struct Bench {
    dir: tempfile::TempDir,
    handle: PolicyHandle,
}

impl Bench {
    /// With a policy in force that denies payments.
    fn new() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("policy.toml");
        rename_into_place(&path, &format!("{ROLES}{DENY}"));
        let handle = PolicyHandle::load(path, methods()).unwrap();
        Self { dir, handle }
    }

    /// Watched every 250 ms.
    fn watched() -> Self {
        let bench = Self::new();
        tokio::spawn(bench.handle.clone().watch(Duration::from_millis(250)));
        bench
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("policy.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn lets_in(&self, name: &str) -> bool {
        let id = id(&format!("spiffe://shop.example/{name}"));
        self.handle.decide(Caller::Peer(&id), POST).is_ok()
    }

    /// Whether payments are denied at every look for so long.
    async fn denies_for(&self, millis: u64) {
        for _ in 0..millis / 50 {
            assert!(!self.lets_in("payments"), "a denied caller is let in");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How long it takes until payments are let in.
    async fn lets_in_after(&self) -> Duration {
        let began = Instant::now();
        while !self.lets_in("payments") {
            assert!(began.elapsed() < Duration::from_secs(60), "never in force");
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_written_slowly_in_place_is_never_in_force_half_written() {
    let bench = Bench::watched();
    bench.write("");
    bench.denies_for(1500).await;
    assert!(bench.lets_in("orders"), "an empty file is no policy, and locks nobody out");
    bench.write(ROLES);
    bench.denies_for(1500).await;
    bench.write(&format!("{ROLES}{DENY}# whole\n"));
    bench.denies_for(10_000).await;
    assert!(bench.handle.current().unwrap().text().ends_with("# whole\n"));
    assert_eq!(bench.handle.problem(), None);
}

#[tokio::test(start_paused = true)]
async fn a_file_put_slowly_in_the_place_of_a_removed_one_is_never_in_force_half_written() {
    let bench = Bench::watched();
    for _ in 0..4 {
        // Each time at another offset from the polls.
        sleep(Duration::from_millis(70)).await;
        fs::remove_file(bench.path()).unwrap();
        let mut file = fs::File::create_new(bench.path()).unwrap();
        file.write_all(ROLES.as_bytes()).unwrap();
        bench.denies_for(1600).await;
        file.write_all(DENY.as_bytes()).unwrap();
        bench.denies_for(4000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_in_place_is_in_force_two_seconds_after_the_last_write() {
    let bench = Bench::watched();
    sleep(Duration::from_millis(100)).await;
    bench.write(ROLES);
    let took = bench.lets_in_after().await;
    assert!((Duration::from_secs(2)..Duration::from_millis(2600)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_renamed_file_is_in_force_at_one_further_look() {
    let bench = Bench::watched();
    sleep(Duration::from_millis(100)).await;
    rename_into_place(&bench.path(), ROLES);
    let took = bench.lets_in_after().await;
    assert!((Duration::from_millis(250)..Duration::from_millis(600)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_turned_to_a_finished_file_is_in_force_at_one_further_look() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (version, text) in [("v1", format!("{ROLES}{DENY}")), ("v2", ROLES.to_owned())] {
        fs::create_dir(path(version)).unwrap();
        rename_into_place(&path(version).join("policy.toml"), &text);
    }
    symlink("v1", path("data")).unwrap();
    symlink("data/policy.toml", path("policy.toml")).unwrap();
    let handle = PolicyHandle::load(path("policy.toml"), methods()).unwrap();
    let bench = Bench { dir, handle };
    tokio::spawn(bench.handle.clone().watch(Duration::from_millis(250)));
    bench.denies_for(1000).await;
    symlink("v2", bench.dir.path().join("new")).unwrap();
    fs::rename(bench.dir.path().join("new"), bench.dir.path().join("data")).unwrap();
    assert!(bench.lets_in_after().await < Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn with_a_long_interval_the_second_look_does_not_wait_for_the_next_interval() {
    let bench = Bench::new();
    bench.write(ROLES);
    let began = Instant::now();
    tokio::spawn(bench.handle.clone().watch(Duration::from_secs(3600)));
    bench.lets_in_after().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_empty_policy_is_a_problem_when_it_stays_and_locks_nobody_out() {
    let bench = Bench::watched();
    bench.write("# Everything is commented out.\n");
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.handle.problem(), None);
    sleep(Duration::from_secs(3600)).await;
    let problem = bench.handle.problem().unwrap();
    assert!(problem.contains("policy.toml:1:1: no policy: the file has nothing but comments"), "{problem}");
    assert!(bench.lets_in("orders") && !bench.lets_in("payments"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_for_a_moment_is_no_problem_and_one_that_stays_away_names_the_cause() {
    let bench = Bench::watched();
    let text = fs::read_to_string(bench.path()).unwrap();
    fs::remove_file(bench.path()).unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.handle.problem(), None);
    bench.write(&text);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.handle.problem(), None);
    fs::remove_file(bench.path()).unwrap();
    sleep(Duration::from_secs(5)).await;
    let problem = bench.handle.problem().unwrap();
    assert!(problem.ends_with("cannot be read: No such file or directory (os error 2)"), "{problem}");
    assert!(bench.lets_in("orders") && !bench.lets_in("payments"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_never_stays_the_same_is_never_in_force_and_that_is_said() {
    let bench = Bench::watched();
    for round in 0..32 {
        bench.write(&format!("{ROLES}# {round}\n"));
        bench.denies_for(1000).await;
    }
    let problem = bench.handle.problem().unwrap();
    assert!(problem.contains("keeps changing") && problem.contains("renamed"), "{problem}");
    bench.lets_in_after().await;
    assert_eq!(bench.handle.problem(), None);
}

/// Makes something that is no policy at a path.
type Make = fn(&Path);

#[tokio::test(start_paused = true)]
async fn a_reload_that_fails_names_its_cause_in_the_words_of_the_start() {
    let cases: [(Make, &str); 9] = [
        (|_| {}, "No such file or directory"),
        (|path| fs::create_dir(path).unwrap(), "it is a directory, not a regular file"),
        (
            |path| {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
            },
            "it is a FIFO, not a regular file",
        ),
        (|path| symlink("policy.toml", path).unwrap(), "Too many levels of symbolic links"),
        (|path| fs::write(path, b"\xff\xfe").unwrap(), "it is UTF-16 text"),
        (|path| fs::write(path, "#".repeat(MAX_POLICY_BYTES + 1)).unwrap(), "it has 1048577 bytes"),
        (|path| fs::write(path, "").unwrap(), "no policy: the file is empty"),
        (|path| fs::write(path, "[roles]\n").unwrap(), "no policy: nothing in it binds"),
        (|path| fs::write(path, "[roles]\nledger-writr = []\n").unwrap(), "did you mean \"ledger-writer\"?"),
    ];
    for (make, cause) in cases {
        let bench = Bench::new();
        fs::remove_file(bench.path()).unwrap();
        make(&bench.path());
        let start = PolicyHandle::load(bench.path(), methods()).unwrap_err().to_string();
        assert!(start.contains(cause), "{cause}: {start}");
        let reload = bench.handle.reload().await.unwrap_err().to_string();
        assert_eq!(reload, start);
        assert_eq!(bench.handle.problem(), Some(start));
        assert!(bench.lets_in("orders") && !bench.lets_in("payments"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_waits_for_a_file_that_is_being_written_and_gives_up_on_one_that_never_is() {
    let bench = Bench::new();
    bench.write(ROLES);
    let handle = bench.handle.clone();
    let reload = tokio::spawn(async move { handle.reload().await });
    bench.denies_for(1500).await;
    bench.write(&format!("{ROLES}{DENY}# whole\n"));
    assert!(matches!(reload.await.unwrap(), Ok(Reloaded::Changed { .. })));
    assert!(!bench.lets_in("payments"));

    let handle = bench.handle.clone();
    let reload = tokio::spawn(async move { handle.reload().await });
    for round in 0..15 {
        bench.write(&format!("{ROLES}# {round}\n"));
        bench.denies_for(1000).await;
    }
    assert!(matches!(reload.await.unwrap(), Err(PolicyError::Unsettled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_the_same_content_changes_nothing_and_is_not_waited_for() {
    let bench = Bench::new();
    bench.write(&format!("{ROLES}{DENY}"));
    let began = Instant::now();
    assert_eq!(bench.handle.reload().await.unwrap(), Reloaded::Unchanged);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_reload_beside_a_watcher_tells_that_the_policy_has_changed_whoever_was_first() {
    let bench = Bench::watched();
    for round in 0..5 {
        bench.write(&format!("{ROLES}# {round}\n"));
        assert!(matches!(bench.handle.reload().await, Ok(Reloaded::Changed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_never_ends_is_told_and_no_second_one_begins() {
    let bench = Bench::new();
    // As a thread holds it that hangs in a mount whose server is away.
    let hanging = Arc::clone(&bench.handle.0.look_lock).lock_owned().await;
    let error = bench.handle.reload().await.unwrap_err().to_string();
    assert!(error.ends_with("policy.toml cannot be read: no answer within 5 s"), "{error}");
    assert_eq!(bench.handle.problem(), Some(error));
    assert!(bench.lets_in("orders") && !bench.lets_in("payments"));
    drop(hanging);
    assert_eq!(bench.handle.reload().await.unwrap(), Reloaded::Unchanged);
    assert_eq!(bench.handle.problem(), None);
}

#[test]
fn a_start_waits_for_a_file_that_is_being_written() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("policy.toml");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(ROLES.as_bytes()).unwrap();
    let handle = thread::scope(|scope| {
        let start = scope.spawn(|| PolicyHandle::load(&path, methods()).unwrap());
        thread::sleep(Duration::from_millis(500));
        file.write_all(DENY.as_bytes()).unwrap();
        start.join().unwrap()
    });
    let payments = id("spiffe://shop.example/payments");
    assert!(handle.decide(Caller::Peer(&payments), POST).is_err(), "half a policy is in force");
}

#[test]
fn a_start_does_not_wait_for_a_file_that_was_finished_before() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("policy.toml");
    fs::write(&path, ROLES).unwrap();
    age(&fs::File::options().write(true).open(&path).unwrap());
    let began = std::time::Instant::now();
    PolicyHandle::load(&path, methods()).unwrap();
    assert!(began.elapsed() < STABLE_FOR, "{:?}", began.elapsed());
}
