//! The store without a disk, for tests: the same answers, and a switch that makes it fail.

mod trust;

use super::{
    ACKS_PER_IDENTITY, CertificateFilter, CertificateRecord, Commit, CommitOutcome, Counts, Entry, EntryId,
    Epoch, KeyHash, NewEntry, NewRevocation, NewToken, Page, RevokeOutcome, Store, StoreError, StoreFuture,
    TokenHash, TokenState, TrustAck, TrustRevocations,
};
use avouch_spiffe::{Generation, Revocation, SpiffeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A store in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
    failing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    next_entry: i64,
    entries: BTreeMap<String, Entry>,
    tokens: HashMap<TokenHash, (NewToken, Option<KeyHash>)>,
    issuances: BTreeMap<String, CertificateRecord>,
    gaps: Vec<(SystemTime, SystemTime)>,
    acks: BTreeMap<(String, String), TrustAck>,
    trust: trust::TrustTable,
    bundle: Option<([u8; 32], u64)>,
}

impl MemoryStore {
    /// From now on every call fails (`true`), or works again.
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// As if a backup from before this certificate had been restored.
    pub(crate) fn forget(&self, serial: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).issuances.remove(serial);
    }

    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut State) -> T) -> StoreFuture<'_, T> {
        let answer = if self.failing.load(Ordering::SeqCst) {
            Err(StoreError::Corrupt("told to fail".to_owned()))
        } else {
            Ok(work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)))
        };
        Box::pin(std::future::ready(answer))
    }
}

impl State {
    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> TokenState {
        match self.tokens.get(token) {
            None => TokenState::Unknown,
            Some((token, _)) if token.expires_at <= now => TokenState::Expired,
            Some((token, Some(bound))) if bound != key => TokenState::UsedByAnotherKey(token.entry),
            Some((token, _)) => TokenState::Usable(token.entry),
        }
    }

    fn commit(&mut self, commit: Commit) -> CommitOutcome {
        let certificate = commit.certificate;
        let entry_there =
            certificate.entry.is_none_or(|id| self.entries.values().any(|entry| entry.id == id));
        if !entry_there {
            return CommitOutcome::EntryGone;
        }
        if let Some(token) = &commit.token {
            let state = self.token(token, &certificate.key, certificate.issued_at);
            if certificate.entry.map(TokenState::Usable) != Some(state) {
                return CommitOutcome::TokenRefused(state);
            }
        }
        if let Some(serial) = &commit.presented {
            match self.issuances.get_mut(serial) {
                Some(presented) if presented.entry == certificate.entry => {
                    presented.last_seen = Some(certificate.issued_at);
                }
                _ => return CommitOutcome::PresentedUnknown,
            }
        }
        if let Some((_, bound)) = commit.token.and_then(|token| self.tokens.get_mut(&token)) {
            *bound = Some(certificate.key);
        }
        self.issuances.insert(certificate.serial.clone(), certificate);
        CommitOutcome::Done
    }
}

impl Store for MemoryStore {
    fn create_entry(&self, entry: NewEntry) -> StoreFuture<'_, Option<Entry>> {
        self.with(|state| {
            let key = entry.spiffe_id.as_str().to_owned();
            if state.entries.contains_key(&key) {
                return None;
            }
            state.next_entry += 1;
            let entry = Entry { id: EntryId(state.next_entry), entry };
            state.entries.insert(key, entry.clone());
            Some(entry)
        })
    }

    fn entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, Option<Entry>> {
        self.with(|state| state.entries.get(spiffe_id.as_str()).cloned())
    }

    fn entry_by_id(&self, id: EntryId) -> StoreFuture<'_, Option<Entry>> {
        self.with(|state| state.entries.values().find(|entry| entry.id == id).cloned())
    }

    fn entries(&self, page: Page<SpiffeId>) -> StoreFuture<'_, Vec<Entry>> {
        self.with(|state| {
            let follows = |id: &&Entry| page.after.as_ref().is_none_or(|after| id.entry.spiffe_id > *after);
            state.entries.values().filter(follows).take(page.limit).cloned().collect()
        })
    }

    fn delete_entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, bool> {
        self.with(|state| {
            let gone = state.entries.remove(spiffe_id.as_str());
            if let Some(gone) = &gone {
                state.tokens.retain(|_, (token, _)| token.entry != gone.id);
            }
            gone.is_some()
        })
    }

    fn create_token(&self, token: NewToken) -> StoreFuture<'_, bool> {
        self.with(|state| {
            let there = state.entries.values().any(|entry| entry.id == token.entry);
            if there {
                state.tokens.insert(token.hash, (token, None));
            }
            there
        })
    }

    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> StoreFuture<'_, TokenState> {
        self.with(|state| state.token(token, key, now))
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, CommitOutcome> {
        self.with(|state| state.commit(commit))
    }

    fn certificate(&self, serial: &str) -> StoreFuture<'_, Option<CertificateRecord>> {
        self.with(|state| state.issuances.get(serial).cloned())
    }

    fn record_startup(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.with(|state| {
            let last = state.issuances.values().map(|row| row.issued_at).max();
            state.gaps.extend(last.filter(|last| *last <= now).map(|last| (last, now)));
        })
    }

    fn in_recovery_gap(&self, issued_at: SystemTime) -> StoreFuture<'_, bool> {
        self.with(|state| state.gaps.iter().any(|(from, to)| (*from..=*to).contains(&issued_at)))
    }

    fn certificates(
        &self,
        filter: CertificateFilter,
        page: Page<String>,
    ) -> StoreFuture<'_, Vec<CertificateRecord>> {
        self.with(|state| {
            state
                .issuances
                .values()
                .rev()
                .filter(|row| page.after.as_ref().is_none_or(|after| row.serial < *after))
                .filter(|row| filter.alive_at.is_none_or(|at| row.not_after >= at))
                .filter(|row| filter.spiffe_id.as_ref().is_none_or(|id| row.spiffe_id == *id))
                .take(page.limit)
                .cloned()
                .collect()
        })
    }

    fn seen(&self, serial: &str, at: SystemTime) -> StoreFuture<'_, ()> {
        self.with(|state| {
            if let Some(row) = state.issuances.get_mut(serial) {
                row.last_seen = row.last_seen.max(Some(at));
            }
        })
    }

    fn acknowledge(&self, ack: TrustAck) -> StoreFuture<'_, ()> {
        self.with(|state| {
            let identity = ack.spiffe_id.as_str().to_owned();
            state.acks.insert((identity.clone(), ack.replica()), ack);
            let mut own: Vec<_> = state
                .acks
                .iter()
                .filter(|((id, _), _)| *id == identity)
                .map(|(key, ack)| (ack.seen_at, key.clone()))
                .collect();
            own.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            for (_, key) in own.into_iter().skip(ACKS_PER_IDENTITY) {
                state.acks.remove(&key);
            }
        })
    }

    fn acknowledgements(&self, page: Page<(SpiffeId, String)>) -> StoreFuture<'_, Vec<TrustAck>> {
        self.with(|state| {
            let after = page.after.map(|(id, replica)| (id.as_str().to_owned(), replica));
            let follows =
                |(key, _): &(&(String, String), &TrustAck)| after.as_ref().is_none_or(|after| *key > after);
            state.acks.iter().filter(follows).take(page.limit).map(|(_, ack)| ack.clone()).collect()
        })
    }

    fn begin_epoch(&self, now: SystemTime) -> StoreFuture<'_, Epoch> {
        self.with(|state| state.trust.begin_epoch(now))
    }

    fn advance_generation(&self) -> StoreFuture<'_, Generation> {
        self.with(|state| state.trust.advance())
    }

    fn trust_revocations(&self, now: SystemTime) -> StoreFuture<'_, TrustRevocations> {
        self.with(|state| state.trust.in_force(now))
    }

    fn revoke(&self, revocation: NewRevocation) -> StoreFuture<'_, RevokeOutcome> {
        self.with(|state| state.trust.revoke(revocation))
    }

    fn undo_revocation(&self, id: i64, _: &str, _: SystemTime) -> StoreFuture<'_, Option<Generation>> {
        self.with(|state| state.trust.undo(id))
    }

    fn return_revocations(
        &self,
        from: &SpiffeId,
        revocations: Vec<Revocation>,
        at: SystemTime,
    ) -> StoreFuture<'_, usize> {
        self.with(|state| state.trust.take(from, revocations, at))
    }

    fn bundle_sequence(&self, content: [u8; 32]) -> StoreFuture<'_, u64> {
        self.with(|state| {
            let sequence = match state.bundle {
                Some((known, sequence)) => sequence + u64::from(known != content),
                None => 1,
            };
            state.bundle = Some((content, sequence));
            sequence
        })
    }

    fn probe(&self, _: SystemTime) -> StoreFuture<'_, ()> {
        self.with(|_| ())
    }

    fn counts(&self, now: SystemTime) -> StoreFuture<'_, Counts> {
        self.with(|state| {
            let live = state.issuances.values().filter(|row| row.not_after >= now).count();
            Counts { entries: state.entries.len() as u64, certificates: live as u64 }
        })
    }

    fn prune(&self, now: SystemTime, before: SystemTime) -> StoreFuture<'_, u64> {
        self.with(|state| {
            let rows = |state: &State| {
                let all = [state.tokens.len(), state.issuances.len(), state.acks.len(), state.gaps.len()];
                all.iter().sum::<usize>() as u64
            };
            let had = rows(state);
            state.tokens.retain(|_, (token, _)| token.expires_at > now);
            state.issuances.retain(|_, row| row.not_after >= before);
            state.acks.retain(|_, ack| ack.seen_at >= before);
            state.gaps.retain(|(_, to)| *to >= before);
            had - rows(state)
        })
    }
}
