//! The active policy, replaced as a whole while calls go on.
//!
//! Readers never wait: they take the current policy from an atomic pointer. A reload reads the file, waits until it is
//! finished ([`stability`]), then checks and compiles it; only a good policy takes the old one's place, and a bad or half
//! written one changes nothing. Before the first good one every call is denied with NOT_READY.

mod file;
mod history;
mod reload;
mod stability;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use avouch_spiffe::PeerIdentity;
use avouch_time::clock::{self, SharedClock};

pub use file::{read_policy, read_policy_from};
pub use history::ActivePolicy;
pub use reload::Reloaded;

use self::history::History;
use self::stability::StabilityTracker;
use crate::decide::{Caller, Permit, decide};
use crate::denial::Denial;
use crate::methods::Methods;
use crate::policy::Policy;

/// A handle to the active policy; cheap to clone, all clones see the same policy.
#[derive(Clone, Debug)]
pub struct PolicyHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Policy>,
    file: Option<File>,
    clock: SharedClock,
    /// Held for the whole of a look at the file: one at a time, so that older content never overtakes newer content, and so
    /// that no more than one thread hangs in a read that does not end.
    look_lock: Arc<tokio::sync::Mutex<()>>,
    stability: Mutex<StabilityTracker>,
    history: Mutex<History>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    methods: Methods,
}

impl PolicyHandle {
    /// A handle that denies every call with NOT_READY until [`reload`](Self::reload) or [`watch`](Self::watch) finds
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
        let current = policy.clone().map(|policy| ActivePolicy { policy, since: clock.now() });
        let history = Mutex::new(History { current, ..History::default() });
        let current = ArcSwapOption::new(policy);
        Self(Arc::new(Shared {
            current,
            file,
            clock,
            look_lock: Arc::default(),
            stability: Mutex::default(),
            history,
        }))
    }

    /// The active policy, if there is one yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.0.current.load_full()
    }

    /// The active policy and since when it is active, if there is one yet.
    #[must_use]
    pub fn active(&self) -> Option<ActivePolicy> {
        self.history().current.clone()
    }

    /// The policy that was active before; `None` if there has been no other.
    #[must_use]
    pub fn previous(&self) -> Option<ActivePolicy> {
        self.history().previous.clone()
    }

    /// The reason why the file's content is not the active policy; `None` if it is, or may soon be.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.history().problem.clone()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stability(&self) -> MutexGuard<'_, StabilityTracker> {
        self.0.stability.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that the policy comes from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_ref().map(|file| file.path.as_path())
    }

    /// [`decide`](fn@decide) under the active policy.
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
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, SystemTime};

    use avouch_spiffe::Reason;

    use super::*;
    use crate::policy::{MAX_POLICY_BYTES, PolicyError};
    use crate::testing::{id, methods, rename_into_place};

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
            rename_into_place(&self.path(), text);
        }
    }

    fn payments_may_post(handle: &PolicyHandle) -> bool {
        handle.decide(Caller::Peer(&id("spiffe://shop.example/payments")), POST).is_ok()
    }

    #[tokio::test]
    async fn before_the_first_policy_everything_is_refused_as_not_ready() {
        let bench = Bench::new();
        let handle = PolicyHandle::pending(bench.path(), methods());
        for path in [POST, "/shop.v1.Shop/Knock", "/unknown.v1.X/Y"] {
            let denial = handle.decide(Caller::Anonymous, path).unwrap_err();
            assert_eq!(denial.reason(), Reason::NotReady, "{path}");
        }
        assert!(matches!(handle.reload().await, Err(PolicyError::Unreadable { .. })));
        bench.write(GOOD);
        assert!(matches!(handle.reload().await, Ok(Reloaded::Changed { .. })));
        assert!(payments_may_post(&handle));
    }

    #[test]
    fn a_file_that_is_missing_or_bad_does_not_load() {
        let bench = Bench::new();
        assert!(matches!(PolicyHandle::load(bench.path(), methods()), Err(PolicyError::Unreadable { .. })));
        bench.write(BAD);
        assert!(matches!(PolicyHandle::load(bench.path(), methods()), Err(PolicyError::Invalid(_))));
    }

    #[tokio::test]
    async fn a_bad_file_leaves_the_last_good_policy_in_force() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let version = handle.current().unwrap().version().to_owned();
        bench.write(BAD);
        assert!(matches!(handle.reload().await, Err(PolicyError::Invalid(_))));
        assert!(payments_may_post(&handle));
        fs::remove_file(bench.path()).unwrap();
        assert!(matches!(handle.reload().await, Err(PolicyError::Unreadable { .. })));
        assert_eq!(handle.current().unwrap().version(), version);
    }

    #[tokio::test]
    async fn a_new_file_takes_effect_in_all_clones_and_the_same_content_is_unchanged() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let clone = handle.clone();
        bench.write(GOOD);
        assert_eq!(handle.reload().await.unwrap(), Reloaded::Unchanged);
        bench.write(OTHER);
        assert!(matches!(handle.reload().await, Ok(Reloaded::Changed { .. })));
        assert!(!payments_may_post(&clone));
    }

    #[tokio::test]
    async fn a_policy_that_was_given_cannot_be_reloaded() {
        let handle = PolicyHandle::fixed(Policy::without_roles(&methods()));
        assert!(matches!(handle.reload().await, Err(PolicyError::NoFile)));
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
                            bench.write([GOOD, BAD, OTHER][round % 3]);
                            let content = file::read(&bench.path()).unwrap();
                            if let Ok(policy) = Policy::load("policy.toml", &content.text, &methods()) {
                                handle.activate(&content, policy);
                            }
                        }
                    })
                })
                .collect();
            for reload in reloads {
                reload.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[tokio::test]
    async fn the_policy_before_and_what_is_wrong_with_the_file_can_be_asked_for() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        assert!(handle.previous().is_none() && handle.problem().is_none());
        bench.write(BAD);
        handle.reload().await.unwrap_err();
        assert!(handle.problem().unwrap().contains("ledger-writr"), "{:?}", handle.problem());
        assert!(handle.previous().is_none(), "a bad policy was never in force");
        bench.write(OTHER);
        handle.reload().await.unwrap();
        assert!(handle.problem().is_none());
        let (now, before) = (handle.active().unwrap(), handle.previous().unwrap());
        assert_eq!((now.policy.text(), before.policy.text()), (OTHER, GOOD));
        assert!(before.since <= now.since && before.policy.version() != now.policy.version());
        handle.reload().await.unwrap();
        assert_eq!(
            handle.previous().unwrap().policy.text(),
            GOOD,
            "the same content again is no other policy"
        );
    }

    #[tokio::test]
    async fn the_history_tells_the_policy_before_since_when_and_what_is_wrong_with_the_file() {
        let bench = Bench::new();
        bench.write(GOOD);
        let clock = clock::ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let handle = PolicyHandle::load_by(clock.shared(), bench.path(), methods()).unwrap();
        assert!(handle.previous().is_none() && handle.problem().is_none());
        assert_eq!(handle.active().unwrap().policy.text(), GOOD);
        clock.advance(Duration::from_secs(5));
        bench.write(OTHER);
        handle.reload().await.unwrap();
        bench.write(BAD);
        handle.reload().await.unwrap_err();
        let (current, previous) = (handle.active().unwrap(), handle.previous().unwrap());
        assert_eq!((current.policy.text(), previous.policy.text()), (OTHER, GOOD));
        assert_eq!(current.since.duration_since(previous.since).unwrap(), Duration::from_secs(5));
        assert!(handle.problem().unwrap().contains("did you mean \"ledger-writer\""));
        bench.write(OTHER);
        handle.reload().await.unwrap();
        assert!(handle.problem().is_none());
        assert_eq!(handle.previous().unwrap().policy.text(), GOOD);
    }

    #[tokio::test]
    async fn a_policy_whose_tests_fail_does_not_take_the_place_of_the_last_good_one() {
        let bench = Bench::new();
        bench.write(GOOD);
        let handle = PolicyHandle::load(bench.path(), methods()).unwrap();
        let test = "[[test]]\ncaller = \"spiffe://shop.example/payments\"\n\
                    method = \"/shop.v1.Ledger/Post\"\nexpect = \"allow\"\n";
        bench.write(&format!("{OTHER}{test}"));
        assert!(handle.reload().await.unwrap_err().to_string().contains("this test fails"));
        assert!(payments_may_post(&handle));
        bench.write(&format!("{GOOD}{test}"));
        assert!(matches!(handle.reload().await, Ok(Reloaded::Changed { .. })));
        assert_eq!(handle.current().unwrap().tests(), 1);
    }

    #[test]
    fn a_file_larger_than_a_policy_may_be_is_refused_without_reading_it_all() {
        let bench = Bench::new();
        bench.write(&"#".repeat(MAX_POLICY_BYTES + 1));
        let error = PolicyHandle::load(bench.path(), methods()).unwrap_err();
        assert!(error.to_string().contains("a policy file has at most 1048576"), "{error}");
        bench.write(&format!("{GOOD}{}", "#".repeat(MAX_POLICY_BYTES - GOOD.len())));
        PolicyHandle::load(bench.path(), methods()).unwrap();
    }
}
