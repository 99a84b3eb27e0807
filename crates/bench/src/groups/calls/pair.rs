//! A pair of a caller and a server, each with the proxies on its side.

use std::net::SocketAddr;
use std::time::Duration;

use super::loads::Load;
use super::spans::Spans;
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::CALLER_CORE;
use crate::roles::{call, serve};
use crate::run::warn;

/// The longest time beyond that of the load until a caller answers.
const ANSWER: Duration = Duration::from_secs(30);

/// A caller that keeps connections to a server.
#[derive(Debug)]
pub(super) struct Pair {
    name: String,
    /// Sends the calls.
    caller: Child,
    /// What calls go through on the caller's side.
    beside_caller: Vec<Child>,
    /// What calls go through on the server's side, the server last.
    servers: Vec<Child>,
    /// The spans of the server's calls, if it exports any.
    spans: Option<Spans>,
    /// Whether the server is a role that keeps records.
    records: bool,
    /// Calls that were served, with the first one of each connection.
    calls: u64,
}

impl Pair {
    /// A pair of two processes. The caller has made a call on each of its connections.
    pub(super) fn new(name: String, server: Child, caller: Child, load: Load) -> Self {
        let calls = u64::try_from(load.connections).unwrap_or(u64::MAX);
        Self {
            name,
            caller,
            beside_caller: Vec::new(),
            servers: vec![server],
            spans: None,
            records: false,
            calls,
        }
    }

    /// Counts what these processes do as done by the server.
    #[must_use]
    pub(super) fn in_front(mut self, proxies: impl IntoIterator<Item = Child>) -> Self {
        self.servers.splice(0..0, proxies);
        self
    }

    /// Counts what these processes do as done by the caller.
    #[must_use]
    pub(super) fn beside_caller(mut self, proxies: impl IntoIterator<Item = Child>) -> Self {
        self.beside_caller.extend(proxies);
        self
    }

    /// Counts the server's spans.
    #[must_use]
    pub(super) fn exporting(mut self, spans: Spans) -> Self {
        self.spans = Some(spans);
        self
    }

    /// Asks the server in the end whether records were lost.
    #[must_use]
    pub(super) fn recording(mut self) -> Self {
        self.records = true;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes calls for some time: the figures of [`Load::columns`].
    pub(super) fn measure(&mut self, load: Load, time: Duration) -> Result<Vec<f64>, Error> {
        let (server, caller) = (self.server_cpu(), self.caller_cpu());
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Load { in_flight, payload, messages, .. } = load;
        let work = call::Work { milliseconds, in_flight, payload, messages, per_second: None };
        let done: call::Done = self.caller.ask(&work, time + ANSWER)?;
        let call::Done { calls, failed, seconds, .. } = done;
        if failed > 0 {
            return Err(Error::other(format!("{}: {failed} of {calls} calls failed", self.name)));
        }
        self.calls += calls;
        // The export of a call's span has its share of the cost of the call.
        if let Some(spans) = &mut self.spans {
            spans.settle()?;
        }
        let parts = f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) * f64::from(messages.unwrap_or(1));
        let each =
            |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / parts;
        let (server, caller) = (each(server, self.server_cpu()), each(caller, self.caller_cpu()));
        Ok(vec![parts / seconds, done.p50, done.p99, done.p999, server, caller])
    }

    fn server_cpu(&self) -> Duration {
        self.servers.iter().map(Child::cpu).sum()
    }

    fn caller_cpu(&self) -> Duration {
        self.beside_caller.iter().chain([&self.caller]).map(Child::cpu).sum()
    }

    /// Ends the processes, the caller first; what became of spans and records.
    pub(super) fn end(self) -> Result<Vec<String>, Error> {
        let Self { name, caller, beside_caller, mut servers, spans, records, calls } = self;
        let mut notes = Vec::new();
        if let (true, Some(server)) = (records, servers.last_mut()) {
            let recorded: serve::Recorded = server.ask(&serve::Query {}, ANSWER)?;
            if recorded != serve::Recorded::default() {
                let serve::Recorded { dropped, problem } = recorded;
                notes.push(
                    format!("LOST: {name}: {dropped} records of {calls} calls {problem}").trim().to_owned(),
                );
            }
        }
        for child in [caller].into_iter().chain(beside_caller).chain(servers) {
            child.end()?;
        }
        notes.extend(spans.map(|spans| spans.end(&name, calls)).transpose()?);
        notes.iter().filter(|note| note.starts_with("LOST")).for_each(|note| warn(note));
        Ok(notes)
    }
}

/// A caller on the callers' core.
pub(super) fn caller(
    bench: &Bench,
    build: &Build,
    name: &str,
    (kind, address): (call::Kind, SocketAddr),
    load: Load,
) -> Result<Child, Error> {
    let connections = load.connections;
    let options = call::Options { kind, pki: bench.pki.clone(), address, connections, denied: false };
    let launch = Launch::role(&build.program("avouch-bench"), call::NAME, &options);
    let mut caller = launch.named(format!("{name} caller")).core(CALLER_CORE).start(&bench.dir)?;
    let call::Ready {} = caller.ready()?;
    Ok(caller)
}
