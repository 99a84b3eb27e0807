//! The policy in force, replaced as a whole while calls go on.
//!
//! Readers never wait: they take the current policy from an atomic pointer. A reload reads, checks and compiles first;
//! only a good policy takes the old one's place, and a bad one changes nothing. Before the first good one every call is
//! refused with NOT_READY.

mod history;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use avouch_spiffe::PeerIdentity;
use avouch_spiffe::clock::{self, SharedClock};

pub use history::InForce;

use self::history::History;
use crate::decide::{Caller, Permit, decide};
use crate::denial::Denial;
use crate::methods::Methods;
use crate::policy::{MAX_POLICY_BYTES, Policy, PolicyError, version_of};

/// A handle to the policy in force; cheap to clone, all clones see the same policy.
#[derive(Clone, Debug)]
pub struct PolicyHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Policy>,
    file: Option<File>,
    clock: SharedClock,
    /// Held for the whole of a reload: one at a time, so that an older content never overtakes a newer one.
    reloading: Mutex<()>,
    history: Mutex<History>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    methods: Methods,
}

/// What a reload found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The content is that of the policy in force.
    Unchanged,
    /// A new policy is in force.
    Changed {
        /// Its version.
        version: String,
    },
}

impl PolicyHandle {
    /// Loads the policy at `path`.
    ///
    /// # Errors
    /// If it cannot be read or is not good.
    pub fn load(path: impl Into<PathBuf>, methods: Methods) -> Result<Self, PolicyError> {
        Self::load_by(clock::system(), path, methods)
    }

    /// [`load`](Self::load), with the clock that tells since when a policy is in force and how old certificates are.
    ///
    /// # Errors
    /// If it cannot be read or is not good.
    pub fn load_by(
        clock: SharedClock,
        path: impl Into<PathBuf>,
        methods: Methods,
    ) -> Result<Self, PolicyError> {
        let handle = Self::new(clock, None, Some(File { path: path.into(), methods }));
        handle.reload()?;
        Ok(handle)
    }

    /// A handle that refuses every call with NOT_READY until [`reload`](Self::reload) or [`watch`](Self::watch) finds
    /// a good policy at `path`.
    #[must_use]
    pub fn pending(path: impl Into<PathBuf>, methods: Methods) -> Self {
        Self::new(clock::system(), None, Some(File { path: path.into(), methods }))
    }

    /// A handle to a policy that does not come from a file and never changes.
    #[must_use]
    pub fn fixed(policy: Policy) -> Self {
        Self::fixed_by(clock::system(), policy)
    }

    /// [`fixed`](Self::fixed), with the clock that tells how old certificates are.
    #[must_use]
    pub fn fixed_by(clock: SharedClock, policy: Policy) -> Self {
        Self::new(clock, Some(Arc::new(policy)), None)
    }

    fn new(clock: SharedClock, policy: Option<Arc<Policy>>, file: Option<File>) -> Self {
        let current = policy.clone().map(|policy| InForce { policy, since: clock.now() });
        let history = Mutex::new(History { current, ..History::default() });
        let current = ArcSwapOption::new(policy);
        Self(Arc::new(Shared { current, file, clock, reloading: Mutex::new(()), history }))
    }

    /// The policy in force, if there is one yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.0.current.load_full()
    }

    /// The policy in force and since when, if there is one yet.
    #[must_use]
    pub fn in_force(&self) -> Option<InForce> {
        self.history().current.clone()
    }

    /// The policy that was in force before; none if there has been no other.
    #[must_use]
    pub fn previous(&self) -> Option<InForce> {
        self.history().previous.clone()
    }

    /// Why the file as it was last read is not in force; none if it is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.history().problem.clone()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that the policy comes from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_ref().map(|file| file.path.as_path())
    }

    /// [`decide`](fn@decide) under the policy in force.
    ///
    /// # Errors
    /// The denial; NOT_READY if there is no policy yet.
    #[inline]
    pub fn decide(&self, caller: Caller<'_>, path: &str) -> Result<Permit, Denial> {
        match &*self.0.current.load() {
            Some(policy) => decide(policy, caller, path),
            None => Err(Denial::not_ready(caller, path)),
        }
    }

    /// [`decide`](Self::decide) for a verified peer; the handle's clock tells the age of its certificate, and is only
    /// read if the policy asks for it.
    ///
    /// # Errors
    /// The denial; NOT_READY if there is no policy yet.
    #[inline]
    pub fn decide_peer(&self, peer: &PeerIdentity, path: &str) -> Result<Permit, Denial> {
        match &*self.0.current.load() {
            Some(policy) => {
                let now = policy.asks_for_the_time().then(|| self.0.clock.now());
                decide(policy, Caller::certified(peer, now), path)
            }
            None => Err(Denial::not_ready(peer.into(), path)),
        }
    }

    /// Reads the file again and, if its content is another and good, puts it in force. Blocks on the file system.
    ///
    /// # Errors
    /// If it cannot be read or is not good; the policy in force stays.
    pub fn reload(&self) -> Result<Reloaded, PolicyError> {
        let file = self.0.file.as_ref().ok_or(PolicyError::NoFile)?;
        let _one_at_a_time = self.0.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.replace(file);
        self.history().problem = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    fn replace(&self, file: &File) -> Result<Reloaded, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable { path: file.path.clone(), source };
        let text = read_policy(&file.path).map_err(unreadable)?;
        if let Some(current) = &*self.0.current.load()
            && current.version() == version_of(text.as_bytes())
        {
            return Ok(Reloaded::Unchanged);
        }
        let policy = Arc::new(Policy::parse(&file.path.display().to_string(), &text, &file.methods)?);
        let version = policy.version().to_owned();
        self.0.current.store(Some(Arc::clone(&policy)));
        self.history().replace(InForce { policy, since: self.0.clock.now() });
        Ok(Reloaded::Changed { version })
    }

    /// Reloads every `interval`, for ever; run it as a task. It compares content, not dates, so it works on file systems
    /// that tell nothing; each new policy and each new kind of failure is logged once.
    pub async fn watch(self, interval: Duration) {
        // An interval of nothing panics.
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_failure = None;
        loop {
            ticks.tick().await;
            let handle = self.clone();
            let outcome = tokio::task::spawn_blocking(move || handle.reload()).await;
            match outcome {
                Ok(Ok(Reloaded::Unchanged)) => last_failure = None,
                Ok(Ok(Reloaded::Changed { version })) => {
                    last_failure = None;
                    tracing::info!(policy_version = %version, "a new policy is in force");
                }
                Ok(Err(error)) => {
                    let failure = error.to_string();
                    if last_failure.as_ref() != Some(&failure) {
                        tracing::error!(
                            error = %failure,
                            help = error.file().map(|file| format!("`avouch policy check {file}` shows each place")),
                            policy_in_force = self.current().as_ref().map(|policy| policy.version()),
                            "the policy file is not good; the last good policy stays in force"
                        );
                        last_failure = Some(failure);
                    }
                }
                // The runtime is shutting down.
                Err(_) => return,
            }
        }
    }
}

/// The content of a policy file. Of one that is larger than a policy may be no more than shows that it is: one octet.
///
/// # Errors
/// If it cannot be read, or is no text.
pub fn read_policy(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_POLICY_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Instant, SystemTime};

    use avouch_spiffe::Reason;

    use super::*;
    use crate::testing::{id, methods};

    const POST: &str = "/shop.v1.Ledger/Post";
    const GOOD: &str = "[roles]\nledger-writer = [\"spiffe://shop.example/payments\"]\n";
    const OTHER: &str = "[roles]\nledger-writer = [\"spiffe://shop.example/orders\"]\n";
    const BAD: &str = "[roles]\nledger-writr = []\n";

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::TempDir::new().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("policy.toml")
        }

        fn write(&self, text: &str) {
            let new = self.dir.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, self.path()).unwrap();
        }
    }

    fn payments_may_post(handle: &PolicyHandle) -> bool {
        handle.decide(Caller::Peer(&id("spiffe://shop.example/payments")), POST).is_ok()
    }

    #[test]
    fn before_the_first_policy_everything_is_refused_as_not_ready() {
        let bench = Bench::new();
        let handle = PolicyHandle::pending(bench.path(), methods());
        for path in [POST, "/shop.v1.Shop/Knock", "/unknown.v1.X/Y"] {
            let denial = handle.decide(Caller::Anonymous, path).unwrap_err();
            assert_eq!(denial.reason(), Reason::NotReady, "{path}");
        }
        assert!(matches!(handle.reload(), Err(PolicyError::Unreadable { .. })));
        bench.write(GOOD);
        assert!(matches!(handle.reload(), Ok(Reloaded::Changed { .. })));
        assert!(payments_may_post(&handle));
    }

    #[test]
    fn a_file_that_is_missing_or_bad_does_not_load() {
        let bench = Bench::new();
        assert!(matches!(PolicyHandle::load(bench.path(), methods()), Err(PolicyError::Unreadable { .. })));
        bench.write(BAD);
        assert!(matches!(PolicyHandle::load(bench.path(), methods()), Err(PolicyError::Invalid(_))));
    }

    #[test]
    fn a_bad_file_leaves_the_last_good_policy_in_force() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let version = handle.current().unwrap().version().to_owned();
        bench.write(BAD);
        assert!(matches!(handle.reload(), Err(PolicyError::Invalid(_))));
        assert!(payments_may_post(&handle));
        fs::remove_file(bench.path()).unwrap();
        assert!(matches!(handle.reload(), Err(PolicyError::Unreadable { .. })));
        assert_eq!(handle.current().unwrap().version(), version);
    }

    #[test]
    fn a_new_file_takes_effect_in_all_clones_and_the_same_content_is_unchanged() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let clone = handle.clone();
        bench.write(GOOD);
        assert_eq!(handle.reload().unwrap(), Reloaded::Unchanged);
        bench.write(OTHER);
        assert!(matches!(handle.reload(), Ok(Reloaded::Changed { .. })));
        assert!(!payments_may_post(&clone));
    }

    #[test]
    fn a_policy_that_was_given_cannot_be_reloaded() {
        let handle = PolicyHandle::fixed(Policy::without_roles(&methods()));
        assert!(matches!(handle.reload(), Err(PolicyError::NoFile)));
        assert!(handle.current().is_some());
    }

    #[test]
    fn deciding_goes_on_while_policies_change_and_each_decision_is_of_one_policy() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let callers = [id("spiffe://shop.example/payments"), id("spiffe://shop.example/orders")];
                    while !done.load(Ordering::Relaxed) {
                        let policy = handle.current().unwrap();
                        let allowed =
                            callers.iter().filter(|id| decide(&policy, Caller::Peer(id), POST).is_ok());
                        assert_eq!(allowed.count(), 1);
                    }
                });
            }
            let reloads: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for round in 0..100 {
                            bench_write(&bench, [GOOD, BAD, OTHER][round % 3], round);
                            let _ = handle.reload();
                        }
                    })
                })
                .collect();
            for reload in reloads {
                reload.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        bench.write(OTHER);
        handle.reload().unwrap();
        assert!(!payments_may_post(&handle));
    }

    #[test]
    fn the_policy_before_and_what_is_wrong_with_the_file_can_be_asked_for() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        assert!(handle.previous().is_none() && handle.problem().is_none());
        bench.write(BAD);
        handle.reload().unwrap_err();
        assert!(handle.problem().unwrap().contains("ledger-writr"), "{:?}", handle.problem());
        assert!(handle.previous().is_none(), "a bad policy was never in force");
        bench.write(OTHER);
        handle.reload().unwrap();
        assert!(handle.problem().is_none());
        let (now, before) = (handle.in_force().unwrap(), handle.previous().unwrap());
        assert_eq!((now.policy.text(), before.policy.text()), (OTHER, GOOD));
        assert!(before.since <= now.since && before.policy.version() != now.policy.version());
        handle.reload().unwrap();
        assert_eq!(
            handle.previous().unwrap().policy.text(),
            GOOD,
            "the same content again is no other policy"
        );
    }

    fn bench_write(bench: &Bench, text: &str, round: usize) {
        let new = bench.dir.path().join(format!("new-{round}-{:?}", thread::current().id()));
        fs::write(&new, text).unwrap();
        fs::rename(new, bench.path()).unwrap();
    }

    #[test]
    fn the_history_tells_the_policy_before_since_when_and_what_is_wrong_with_the_file() {
        let bench = Bench::new();
        bench.write(GOOD);
        let clock = clock::ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let handle = PolicyHandle::load_by(clock.shared(), bench.path(), methods()).unwrap();
        assert!(handle.previous().is_none() && handle.problem().is_none());
        assert_eq!(handle.in_force().unwrap().policy.text(), GOOD);
        clock.advance(Duration::from_secs(5));
        bench.write(OTHER);
        handle.reload().unwrap();
        bench.write(BAD);
        handle.reload().unwrap_err();
        let (current, previous) = (handle.in_force().unwrap(), handle.previous().unwrap());
        assert_eq!((current.policy.text(), previous.policy.text()), (OTHER, GOOD));
        assert_eq!(current.since.duration_since(previous.since).unwrap(), Duration::from_secs(5));
        assert!(handle.problem().unwrap().contains("did you mean \"ledger-writer\""));
        bench.write(OTHER);
        handle.reload().unwrap();
        assert!(handle.problem().is_none());
        assert_eq!(handle.previous().unwrap().policy.text(), GOOD);
    }

    #[test]
    fn a_policy_whose_tests_fail_does_not_take_the_place_of_the_last_good_one() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let test = "[[test]]\ncaller = \"spiffe://shop.example/payments\"\n\
                    method = \"/shop.v1.Ledger/Post\"\nexpect = \"allow\"\n";
        bench.write(&format!("{OTHER}{test}"));
        assert!(handle.reload().unwrap_err().to_string().contains("this test fails"));
        assert!(payments_may_post(&handle));
        bench.write(&format!("{GOOD}{test}"));
        assert!(matches!(handle.reload(), Ok(Reloaded::Changed { .. })));
        assert_eq!(handle.current().unwrap().tests(), 1);
    }

    #[test]
    fn a_file_larger_than_a_policy_may_be_is_refused_without_reading_it_all() {
        let bench = Bench::new();
        bench.write(&"#".repeat(MAX_POLICY_BYTES + 1));
        let error = PolicyHandle::load(bench.path(), methods()).unwrap_err();
        assert!(error.to_string().contains("a policy file has at most 1048576"), "{error}");
        bench.write(&"#".repeat(MAX_POLICY_BYTES));
        PolicyHandle::load(bench.path(), methods()).unwrap();
    }

    #[tokio::test]
    async fn the_watcher_finds_a_new_policy_by_its_content() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let watcher = tokio::spawn(handle.clone().watch(Duration::from_millis(2)));
        bench.write(BAD);
        bench.write(OTHER);
        let deadline = Instant::now() + Duration::from_secs(10);
        while payments_may_post(&handle) {
            assert!(Instant::now() < deadline, "the new policy never came into force");
            tokio::task::yield_now().await;
        }
        watcher.abort();
    }
}
