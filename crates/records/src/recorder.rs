//! The recorder: what observers call, what readers query, and the thread between them.

mod observers;

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use avouch_api::observe::v1::{Edge, Record, Records};
use avouch_authz::Methods;
use avouch_authz::layer::DecisionId;
use avouch_identity::{ConnectionClosed, ConnectionInfo, Verdict};
use avouch_limits::{Network, RateLimiter, log_lines};
use avouch_spiffe::{PeerIdentity, Reason};
use avouch_time::clock::{self, SharedClock};
use crossbeam_queue::ArrayQueue;
use http::Extensions;

use crate::call_counters::{BadEnd, CallCounters, CallerCounters};
use crate::config::RecordsConfig;
use crate::entry::{Allowed, Attempt, Caller, Refused, Via, Why};
use crate::file::FileLog;
use crate::filter::Matcher;
use crate::memory::Memory;
use crate::render;
use crate::watch::WatchedRecord;

/// The time between two collections.
const COLLECT_EVERY: Duration = Duration::from_millis(50);

/// The room for events between two collections: connections and denied calls together; allowed calls have their own.
const QUEUE: usize = 4096;

/// The longest time for which the end of a process waits for the file.
const FINISH: Duration = Duration::from_secs(1);

/// Records what happens in a process. Clones share everything; the thread ends with the last of them.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    methods: Methods,
    clock: SharedClock,
    trace: fn() -> Option<[u8; 16]>,
    keep: usize,
    path: Option<PathBuf>,
    queue: ArrayQueue<Event>,
    allowed: ArrayQueue<Allowed>,
    /// Whether each allowed call is wanted, not only the latest ones.
    wants_allowed: AtomicBool,
    writes_allowed: bool,
    dropped: AtomicU64,
    attempts: RateLimiter<(Network, Option<Reason>)>,
    calls: CallCounters,
    sources: RandomState,
    memory: Mutex<Memory>,
    problem: Mutex<String>,
    control: mpsc::Sender<mpsc::Sender<()>>,
}

/// An event that waits to be collected.
enum Event {
    Attempt(Box<Attempt>),
    Closed(ConnectionClosed),
    Refused(Box<Refused>),
}

/// Sets up a [`Recorder`].
#[derive(Debug)]
#[must_use]
pub struct RecorderBuilder {
    config: RecordsConfig,
    methods: Methods,
    clock: SharedClock,
    trace: fn() -> Option<[u8; 16]>,
}

impl RecorderBuilder {
    /// Tells the time of decisions by `clock`.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// How to find the trace that the current call is part of.
    pub fn trace(mut self, of: fn() -> Option<[u8; 16]>) -> Self {
        self.trace = of;
        self
    }

    /// Starts the thread that collects and writes.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(self) -> std::io::Result<Recorder> {
        let RecorderBuilder { config, methods, clock, trace } = self;
        // The queue is allocated at once, so a program cannot ask for more than a configuration may.
        let keep = config.keep.min(RecordsConfig::KEEP.most());
        let (control, commands) = mpsc::channel();
        let writes_allowed = config.file.as_ref().is_some_and(|file| file.allowed);
        let shared = Arc::new(Shared {
            calls: CallCounters::new(methods.clone(), clock.now()),
            methods: methods.clone(),
            clock,
            trace,
            keep,
            path: config.file.as_ref().map(|file| file.path.clone()),
            queue: ArrayQueue::new(QUEUE),
            allowed: ArrayQueue::new(QUEUE.max(keep)),
            wants_allowed: AtomicBool::new(writes_allowed),
            writes_allowed,
            dropped: AtomicU64::new(0),
            attempts: log_lines(),
            sources: RandomState::new(),
            memory: Mutex::new(Memory::new(keep, config.file.as_ref().map(|file| file.allowed))),
            problem: Mutex::default(),
            control,
        });
        let weak = Arc::downgrade(&shared);
        let log = config.file.map(|file| FileLog::new(file, methods));
        std::thread::Builder::new().name("records".to_owned()).spawn(move || run(&weak, &commands, log))?;
        Ok(Recorder(shared))
    }
}

/// The thread: collects, writes, and ends when the last recorder is dropped.
fn run(shared: &Weak<Shared>, commands: &mpsc::Receiver<mpsc::Sender<()>>, mut log: Option<FileLog>) {
    loop {
        let done = match commands.recv_timeout(COLLECT_EVERY) {
            Ok(done) => Some(done),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let Some(shared) = shared.upgrade() else { return };
        let pending = shared.collect().take_pending();
        if let Some(log) = &mut log {
            log.append(&pending);
            log.flush(done.is_some());
            shared.dropped.fetch_add(log.take_lost(), Relaxed);
            shared.note(log.problem());
        }
        if let Some(done) = done {
            // The receiver is gone when `finish` has timed out.
            let _ = done.send(());
        }
    }
}

impl Recorder {
    /// A recorder for calls of `methods`.
    pub fn builder(config: RecordsConfig, methods: Methods) -> RecorderBuilder {
        RecorderBuilder { config, methods, clock: clock::system(), trace: || None }
    }

    /// Notes that the service itself refused a call that the policy had allowed, as an issuer refuses a certificate.
    /// `suppressed` says how many like it were not recorded before it: whoever calls this sees to it that nobody floods.
    pub fn refused(
        &self,
        method: impl Into<String>,
        reason: Reason,
        detail: impl Into<String>,
        id: DecisionId,
        call: (Option<&ConnectionInfo>, Option<&Arc<PeerIdentity>>),
        suppressed: u64,
    ) {
        let (connection, peer) = call;
        self.push(Event::Refused(Box::new(Refused {
            id: Some(id),
            at: self.0.clock.now(),
            audited: false,
            caller: peer.map_or(Caller::Anonymous, |peer| Caller::Peer(Arc::clone(peer))),
            via: connection.map(Via::from),
            trace: (self.0.trace)(),
            why: Why::Service { method: method.into(), reason, detail: detail.into() },
            suppressed,
        })));
    }

    /// The token by which [`Recorder::failed`] knows the caller of the call with these request extensions.
    #[must_use]
    pub fn begun(&self, extensions: &Extensions) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.calls_of(extensions).cloned()
    }

    /// Counts a call of `method` (`pkg.Service/Method`) that ended with another status than OK. One that was refused,
    /// as the extensions of its response say, is not counted twice.
    pub fn failed(
        &self,
        token: &(dyn Any + Send + Sync),
        method: &str,
        end: BadEnd,
        response: Option<&Extensions>,
    ) {
        if response.is_some_and(|response| response.get::<DecisionId>().is_some()) {
            return;
        }
        if let Some(calls) = token.downcast_ref::<CallerCounters>() {
            calls.ended(&self.0.methods, self.0.calls.method(method), end);
        }
    }

    /// The latest `limit` records that match, oldest first.
    #[must_use]
    pub fn list(&self, matcher: &Matcher, limit: usize) -> Vec<Record> {
        let mut memory = self.0.collect();
        self.0.collect_allowed(&mut memory);
        let entries = memory.list(matcher, limit);
        drop(memory);
        entries.iter().map(|entry| render::record(entry, &self.0.methods)).collect()
    }

    /// Who called what, since the recorder began.
    #[must_use]
    pub fn edges(&self) -> Vec<Edge> {
        self.0.calls.edges()
    }

    /// The status of the recorder itself.
    #[must_use]
    pub fn state(&self) -> Records {
        Records {
            capacity: self.0.keep as u64,
            file: self.0.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            dropped: self.0.dropped.load(Relaxed),
            problem: self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The rules of the calls that are recorded.
    #[must_use]
    pub fn methods(&self) -> &Methods {
        &self.0.methods
    }

    /// Collects and writes what there is, and waits for it a moment. Blocks.
    pub fn finish(&self) {
        let (done, finished) = mpsc::channel();
        if self.0.control.send(done).is_ok()
            && finished.recv_timeout(FINISH).is_err()
            && self.0.path.is_some()
        {
            tracing::warn!("the last records could not be written in time");
        }
    }

    pub(crate) fn watch(&self, matcher: Matcher) -> tokio::sync::mpsc::Receiver<WatchedRecord> {
        let mut memory = self.0.collect();
        // What was allowed before is no news.
        self.0.collect_allowed(&mut memory);
        let receiver = memory.watchers.add(matcher);
        self.0.heed_watchers(&mut memory);
        receiver
    }

    pub(crate) fn render(&self, (entry, missed): &WatchedRecord) -> (Record, u64) {
        (render::record(entry, &self.0.methods), *missed)
    }

    fn push(&self, event: Event) {
        if self.0.queue.push(event).is_err() {
            self.0.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Shared {
    /// Moves what was observed into memory, for whoever is about to read it; allowed calls only where each is wanted.
    fn collect(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.heed_watchers(&mut memory);
        // At most as many as the queue holds, so that this ends while events keep coming.
        for _ in 0..QUEUE {
            match self.queue.pop() {
                Some(Event::Attempt(attempt)) => {
                    let network = Network::from(attempt.record.peer_addr.ip());
                    let source = match &attempt.record.peer_id {
                        Some(id) if attempt.record.verdict == Verdict::Accepted => self.sources.hash_one(id),
                        _ => self.sources.hash_one(network),
                    };
                    memory.attempt(source, *attempt);
                }
                Some(Event::Closed(closed)) => memory.closed(closed),
                Some(Event::Refused(refused)) => {
                    let source = match (&refused.caller, refused.via) {
                        (Caller::Peer(peer), _) => self.sources.hash_one(peer.spiffe_id()),
                        (_, Some(via)) => self.sources.hash_one(Network::from(via.peer_addr.ip())),
                        (_, None) => 0,
                    };
                    memory.refused(source, *refused);
                }
                None => break,
            }
        }
        if self.wants_allowed.load(Relaxed) {
            self.collect_allowed(&mut memory);
        }
        let lost = std::mem::take(&mut memory.lost);
        self.dropped.fetch_add(lost, Relaxed);
        memory
    }

    /// Moves allowed calls into memory. While nobody wants each of them they stay in their queue, which keeps the latest:
    /// to move tens of thousands a second would take the time of calls.
    fn collect_allowed(&self, memory: &mut Memory) {
        for _ in 0..self.allowed.capacity() {
            let Some(allowed) = self.allowed.pop() else { break };
            memory.allowed(allowed);
        }
    }

    fn heed_watchers(&self, memory: &mut Memory) {
        memory.tells_allowed = memory.watchers.want_allowed();
        self.wants_allowed.store(self.writes_allowed || memory.tells_allowed, Relaxed);
    }

    fn note(&self, problem: &str) {
        let mut noted = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted != problem {
            if !problem.is_empty() {
                tracing::error!(problem, "records cannot be written; those in memory are not affected");
            }
            problem.clone_into(&mut noted);
        }
    }

    fn calls_of<'a>(&self, extensions: &'a Extensions) -> Option<&'a Arc<dyn Any + Send + Sync>> {
        let info = extensions.get::<Arc<ConnectionInfo>>()?;
        let peer = || extensions.get::<Arc<PeerIdentity>>().map(|peer| &**peer);
        Some(info.extensions.get_or_put(|| self.calls.of(peer(), info)))
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("keep", &self.0.keep)
            .field("file", &self.0.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
