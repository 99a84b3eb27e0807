//! Who uses a generation of the trust state, and who does not: what `avouch revoke` waits for, and what must be asked before a
//! root is removed.
//!
//! A process counts by its id, so that two replicas without an address are two. A live certificate whose process has never
//! said anything counts as well: until it ends, somebody may be using it with an older state. A certificate is its process's
//! if the process has presented it, has renewed it, or has got it by renewing: a workload that renews becomes no other one. Of
//! a certificate that was renewed twice with different keys nobody knows which of its children the process holds, so each of
//! them counts by itself.

use crate::issuance::Issuance;
use crate::store::{CertificateFilter, CertificateRecord, Origin, Page, StoreError, TrustAck};
use crate::trust::{Published, Subscriber};
use avouch_spiffe::{Generation, RevocationKey, SpiffeId};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// What is known of the state that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Its trust stream is open.
    Connected,
    /// It has none.
    Away,
    /// It knows no generations.
    TooOld,
}

impl Contact {
    /// The word for it in the administrator's API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Away => "away",
            Self::TooOld => "too old",
        }
    }
}

/// A process, or a certificate whose process has not said anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadProcess {
    /// Its identity.
    pub spiffe_id: SpiffeId,
    /// The serial number of the certificate that it presented.
    pub serial: String,
    /// The addresses that it advertises.
    pub addresses: Vec<String>,
    /// Tells it from other processes; `None`: it names no id.
    pub instance: Option<[u8; 16]>,
    /// The generation that it uses; `None`: it has not said, or knows none.
    pub generation: Option<Generation>,
    /// When it said so.
    pub at: Option<SystemTime>,
    /// The end of its certificate.
    pub not_after: SystemTime,
    /// What is known of its contact with the issuer.
    pub contact: Contact,
    /// The connections that it has ended because of revocations; 0 where it has no stream.
    pub connections_ended: u64,
}

/// All processes, by whether they use a generation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledgements {
    /// Those that use it, or a later one.
    pub(crate) acknowledged: Vec<WorkloadProcess>,
    /// Those that do not, or have not said so.
    pub(crate) lagging: Vec<WorkloadProcess>,
}

/// What the store knows of processes.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    certificates: Vec<CertificateRecord>,
    acks: Vec<TrustAck>,
}

impl Recorded {
    /// Reads it.
    pub(crate) async fn read(issuance: &Issuance) -> Result<Self, StoreError> {
        let filter =
            CertificateFilter { alive_at: Some(issuance.clock.now()), ..CertificateFilter::default() };
        let certificates = issuance.store.certificates(filter, Page::all()).await?;
        let mut acks = issuance.store.acknowledgements(Page::all()).await?;
        // The latest first: it says what the process that holds a certificate uses now.
        acks.sort_by_key(|ack| std::cmp::Reverse(ack.seen_at));
        Ok(Self { certificates, acks })
    }
}

/// Who does not use this generation: the question of every gate.
pub(crate) async fn lagging(
    issuance: &Issuance,
    generation: Generation,
) -> Result<Vec<WorkloadProcess>, StoreError> {
    let recorded = Recorded::read(issuance).await?;
    let trust = &issuance.trust;
    Ok(judge(generation, &trust.published(), &trust.subscribers().list(), &recorded).lagging)
}

/// Judges all processes by `generation`: those that follow the trust stream, and those that the store knows.
pub(crate) fn judge(
    generation: Generation,
    published: &Published,
    connected: &[Subscriber],
    recorded: &Recorded,
) -> Acknowledgements {
    let mut census = Census::new(published, &recorded.certificates);
    for subscriber in connected {
        census.connected(subscriber);
    }
    for ack in &recorded.acks {
        census.away(ack);
    }
    let processes = census.finish();
    let uses = |process: &WorkloadProcess| process.generation.is_some_and(|used| used >= generation);
    let (acknowledged, lagging) = processes.into_iter().partition(uses);
    Acknowledgements { acknowledged, lagging }
}

/// The processes found so far, and the certificates that are theirs.
struct Census<'a> {
    published: &'a Published,
    live: HashMap<&'a str, &'a CertificateRecord>,
    /// The live certificates that were got with another one; `None`: more than one.
    child: HashMap<&'a str, Option<&'a str>>,
    covered: HashSet<&'a str>,
    instances: HashMap<[u8; 16], usize>,
    processes: Vec<WorkloadProcess>,
}

impl<'a> Census<'a> {
    fn new(published: &'a Published, certificates: &'a [CertificateRecord]) -> Self {
        let mut census = Self {
            published,
            live: HashMap::new(),
            child: HashMap::new(),
            covered: HashSet::new(),
            instances: HashMap::new(),
            processes: Vec::new(),
        };
        for certificate in certificates.iter().filter(|it| it.origin != Origin::SelfIssued) {
            if census.is_revoked(&certificate.spiffe_id, &certificate.serial) {
                continue;
            }
            census.live.insert(&certificate.serial, certificate);
            if let Some(parent) = &certificate.parent {
                let only = census.child.entry(parent).or_insert(Some(&certificate.serial));
                *only = only.filter(|only| *only == certificate.serial);
            }
        }
        census
    }

    /// Whether nobody has to wait for it, since it is what is cut off.
    fn is_revoked(&self, spiffe_id: &SpiffeId, serial: &str) -> bool {
        let revocations = &self.published.state.revocations;
        revocations.get(&RevocationKey::identity(spiffe_id)).is_some()
            || revocations.get(&RevocationKey::serial(spiffe_id.trust_domain(), serial)).is_some()
    }

    fn connected(&mut self, subscriber: &Subscriber) {
        if self.is_revoked(&subscriber.spiffe_id, &subscriber.serial) {
            return;
        }
        let not_after = self.cover(&subscriber.serial);
        let process = WorkloadProcess {
            spiffe_id: subscriber.spiffe_id.clone(),
            serial: subscriber.serial.clone(),
            addresses: subscriber.addresses.clone(),
            instance: subscriber.instance,
            generation: subscriber.generation,
            at: subscriber.generation.map(|_| subscriber.acknowledged_at),
            not_after: not_after.unwrap_or(subscriber.not_after),
            contact: if subscriber.generation.is_some() { Contact::Connected } else { Contact::TooOld },
            connections_ended: subscriber.connections_ended,
        };
        // A process that has opened another stream while the one before is on its way out counts once, by what it said last.
        let known = process.instance.and_then(|instance| self.instances.get(&instance).copied());
        match known.and_then(|known| self.processes.get_mut(known)) {
            Some(known) if known.generation < process.generation => *known = process,
            Some(_) => {}
            None => self.add(process),
        }
    }

    fn away(&mut self, ack: &TrustAck) {
        let known = ack.instance.is_some_and(|instance| self.instances.contains_key(&instance));
        // A certificate that is somebody else's by now was this process's before it started again.
        if known || self.covered.contains(ack.serial.as_str()) || !self.live.contains_key(ack.serial.as_str())
        {
            return;
        }
        let Some(not_after) = self.cover(&ack.serial) else { return };
        let old = ack.instance.is_none();
        self.add(WorkloadProcess {
            spiffe_id: ack.spiffe_id.clone(),
            serial: ack.serial.clone(),
            addresses: ack.addresses.clone(),
            instance: ack.instance,
            generation: (!old).then_some(ack.generation),
            at: (!old).then_some(ack.seen_at),
            not_after,
            contact: if old { Contact::TooOld } else { Contact::Away },
            connections_ended: 0,
        });
    }

    fn add(&mut self, process: WorkloadProcess) {
        if let Some(instance) = process.instance {
            self.instances.insert(instance, self.processes.len());
        }
        self.processes.push(process);
    }

    /// Takes the certificates of the process that presented this one, and returns the end of the last of them.
    fn cover(&mut self, serial: &str) -> Option<SystemTime> {
        let mut end = None;
        // Forward along what was renewed once, from the one that was presented.
        let mut next = Some(serial);
        while let Some(serial) = next {
            if let Some((serial, certificate)) = self.live.get_key_value(serial)
                && self.covered.insert(serial)
            {
                end = end.max(Some(certificate.not_after));
            }
            next = self.child.get(serial).copied().flatten().filter(|child| !self.covered.contains(child));
        }
        // Back along those that it was renewed from, as far as they are alive.
        let parent = |serial: &str| self.live.get(serial).and_then(|it| it.parent.as_deref());
        let mut ancestors = Vec::new();
        let mut last = parent(serial);
        while let Some(serial) = last {
            ancestors.push(serial);
            // No certificate is its own ancestor; a damaged store must not hang the issuer.
            last = parent(serial).filter(|_| ancestors.len() <= self.live.len());
        }
        self.covered.extend(ancestors);
        end.or_else(|| self.live.get(serial).map(|certificate| certificate.not_after))
    }

    /// The processes, and the certificates that are nobody's.
    fn finish(mut self) -> Vec<WorkloadProcess> {
        let nobodys = self.live.values().filter(|it| !self.covered.contains(it.serial.as_str()));
        let nobodys = nobodys.map(|certificate| WorkloadProcess {
            spiffe_id: certificate.spiffe_id.clone(),
            serial: certificate.serial.clone(),
            addresses: Vec::new(),
            instance: None,
            generation: None,
            at: None,
            not_after: certificate.not_after,
            contact: Contact::Away,
            connections_ended: 0,
        });
        let nobodys: Vec<_> = nobodys.collect();
        self.processes.extend(nobodys);
        self.processes.sort_by(|a, b| (&a.spiffe_id, &a.serial).cmp(&(&b.spiffe_id, &b.serial)));
        self.processes
    }
}

#[cfg(test)]
mod tests;
