//! The records in memory: four bounded lists, the lines that wait for the file, and the watchers.

use std::collections::VecDeque;
use std::sync::Arc;

use avouch_identity::{ConnectionClosed, Verdict};

use crate::entry::{Allowed, Attempt, Entry, Refused};
use crate::fair_buffer::FairBuffer;
use crate::filter::Matcher;
use crate::watch::Watchers;

/// The most lines that wait for the file; further ones are lost, and counted.
const PENDING: usize = 16 * 1024;

/// A line for the file.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Entry(Entry),
    /// The end of a connection that was closed because of its peer.
    End(Arc<Attempt>),
}

#[derive(Debug)]
pub(crate) struct Memory {
    keep: usize,
    accepted: FairBuffer<Arc<Attempt>>,
    refused: FairBuffer<Arc<Attempt>>,
    calls: FairBuffer<Arc<Refused>>,
    allowed: VecDeque<Allowed>,
    pub(crate) watchers: Watchers,
    pub(crate) tells_allowed: bool,
    /// `None` without a file; else whether allowed calls are written to it.
    file: Option<bool>,
    pending: Vec<Line>,
    pub(crate) lost: u64,
}

impl Memory {
    pub(crate) fn new(keep: usize, file: Option<bool>) -> Self {
        Self {
            keep,
            accepted: FairBuffer::new(keep),
            refused: FairBuffer::new(keep),
            calls: FairBuffer::new(keep),
            allowed: VecDeque::new(),
            watchers: Watchers::default(),
            tells_allowed: false,
            file,
            pending: Vec::new(),
            lost: 0,
        }
    }

    pub(crate) fn attempt(&mut self, source: u64, attempt: Attempt) {
        let attempt = Arc::new(attempt);
        self.tell(Entry::Attempt(Arc::clone(&attempt)));
        match attempt.record.verdict {
            Verdict::Accepted => self.accepted.push(source, attempt),
            Verdict::Refused => self.refused.push(source, attempt),
        }
    }

    pub(crate) fn refused(&mut self, source: u64, refused: Refused) {
        let refused = Arc::new(refused);
        self.tell(Entry::Refused(Arc::clone(&refused)));
        self.calls.push(source, refused);
    }

    pub(crate) fn allowed(&mut self, allowed: Allowed) {
        if self.tells_allowed {
            self.watchers.tell(&Entry::Allowed(allowed.clone()));
        }
        if self.file == Some(true) {
            self.write(Line::Entry(Entry::Allowed(allowed.clone())));
        }
        if self.allowed.len() >= self.keep.max(1) {
            self.allowed.pop_front();
        }
        self.allowed.push_back(allowed);
    }

    /// Adds the end of a connection to its record, if that is still there.
    pub(crate) fn closed(&mut self, closed: ConnectionClosed) {
        let found = self.accepted.iter_mut().rev().find(|attempt| attempt.record.id == closed.id);
        let Some(attempt) = found else { return };
        let for_cause = closed.cause.is_some();
        Arc::make_mut(attempt).closed = Some(closed);
        let attempt = Arc::clone(attempt);
        if for_cause {
            self.watchers.tell(&Entry::Attempt(Arc::clone(&attempt)));
            self.write(Line::End(attempt));
        }
    }

    fn tell(&mut self, entry: Entry) {
        self.watchers.tell(&entry);
        self.write(Line::Entry(entry));
    }

    fn write(&mut self, line: Line) {
        if self.file.is_none() {
            return;
        }
        if self.pending.len() >= PENDING {
            self.lost += 1;
            return;
        }
        self.pending.push(line);
    }

    /// Takes the lines that wait to be written.
    pub(crate) fn take_pending(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.pending)
    }

    /// The latest `limit` records that match, oldest first.
    pub(crate) fn list(&self, matcher: &Matcher, limit: usize) -> Vec<Entry> {
        let attempts = self.accepted.iter().chain(self.refused.iter());
        let attempts = attempts.map(|attempt| Entry::Attempt(Arc::clone(attempt)));
        let calls = self.calls.iter().map(|refused| Entry::Refused(Arc::clone(refused)));
        let allowed = self.allowed.iter().filter(|_| matcher.wants_allowed());
        let allowed = allowed.map(|allowed| Entry::Allowed(allowed.clone()));
        let entries = attempts.chain(calls).chain(allowed);
        let mut entries: Vec<_> = entries.filter(|entry| matcher.matches(entry)).collect();
        entries.sort_by_key(Entry::at);
        let too_many = entries.len().saturating_sub(limit);
        entries.drain(..too_many);
        entries
    }
}
