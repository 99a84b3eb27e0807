//! The status that the issuer reports to its local administrator: its health, and the number of its records.
//!
//! What every process knows of itself (its records, its renewals, its listener) comes from the process the issuer runs
//! in, behind [`Process`]; what only an issuer knows is asked of its parts, at the moment of the question. Tells
//! nothing secret: no token, no key, no certificate.

use crate::issuance::Issuance;
use crate::store::{Counts, StoreError};
use avouch_api::observe::v1 as observe;
use avouch_identity::Identity;
use avouch_spiffe::x509::Authority;
use avouch_time::timestamp;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// The timeout of the store's answer; a slower store is reported as failing.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The process that an issuer runs in, as it describes itself.
pub trait Process: Send + Sync + fmt::Debug + 'static {
    /// The status of the process. Called off the async threads: it may look at the disk.
    fn status(&self) -> observe::Status;
    /// Its latest records that match, oldest first; at most `limit`, `None`: all there are.
    fn records(&self, filter: &observe::Filter, limit: Option<usize>) -> Vec<observe::Record>;
}

/// Reports how the issuer is doing.
#[derive(Debug, Clone)]
pub(crate) struct StatusReporter {
    pub(crate) identity: Identity,
    pub(crate) data_dir: PathBuf,
    pub(crate) started_at: SystemTime,
    /// The process around the issuer, if it runs in one.
    pub(crate) process: Option<Arc<dyn Process>>,
    /// The address of its listener, once it has one.
    pub(crate) listen: OnceLock<SocketAddr>,
    /// The addresses at which workloads reach it; empty: that of the listener.
    pub(crate) advertised: Vec<String>,
}

impl StatusReporter {
    pub(crate) fn new(identity: Identity, data_dir: PathBuf, started_at: SystemTime) -> Self {
        Self {
            identity,
            data_dir,
            started_at,
            process: None,
            listen: OnceLock::new(),
            advertised: Vec::new(),
        }
    }

    /// The issuer's records; none where it runs in no process that keeps any.
    pub(crate) fn records(&self, filter: &observe::Filter, limit: Option<usize>) -> Vec<observe::Record> {
        self.process.as_ref().map(|process| process.records(filter, limit)).unwrap_or_default()
    }

    /// The status of the issuer. Writes to the store and reads from it; what it says is part of the answer.
    pub(crate) async fn issuer(&self, issuance: &Issuance) -> observe::Issuer {
        let now = issuance.clock.now();
        let (store_problem, counts) =
            match tokio::time::timeout(STORE_PATIENCE, ask_store(issuance, now)).await {
                Ok(Ok(counts)) => (String::new(), counts),
                Ok(Err(error)) => (avouch_text::with_causes(&error).to_string(), Counts::default()),
                Err(_elapsed) => {
                    (format!("the store does not answer within {STORE_PATIENCE:?}"), Counts::default())
                }
            };
        let (mut process, own_disk) = self.of_the_system(now).await;
        process.bundle = Some(bundle(issuance));
        let trust = issuance.trust.state();
        process.disks.retain(|disk| disk.path != own_disk.path);
        process.disks.insert(0, own_disk);
        observe::Issuer {
            addresses: self.addresses(&process.listen),
            process: Some(process),
            signing: vec![authority(issuance.authorities.signing().certificate())],
            store_problem,
            entries: counts.entries,
            certificates: counts.certificates,
            epoch: trust.generation.epoch,
            counter: trust.generation.counter,
            revocations: u64::try_from(trust.revocations.len()).unwrap_or(u64::MAX),
            lost_changes: issuance.trust.lost_changes(),
            open_forks: counts.open_forks,
            ..observe::Issuer::default()
        }
    }

    /// The status of the process and of the disk, asked for off the async threads, since a disk may block.
    async fn of_the_system(&self, now: SystemTime) -> (observe::Status, observe::Disk) {
        let (process, data_dir) = (self.process.clone(), self.data_dir.clone());
        let asked =
            tokio::task::spawn_blocking(move || (process.map(|process| process.status()), disk(&data_dir)));
        let (status, disk) = asked.await.unwrap_or_else(|failed| {
            let (path, problem) = (self.data_dir.display().to_string(), failed.to_string());
            (None, observe::Disk { path, problem, ..observe::Disk::default() })
        });
        (status.unwrap_or_else(|| self.bare_status(now)), disk)
    }

    fn addresses(&self, listen: &str) -> Vec<String> {
        if !self.advertised.is_empty() {
            return self.advertised.clone();
        }
        Some(listen.to_owned()).filter(|listen| !listen.is_empty()).into_iter().collect()
    }

    /// The status of an issuer that runs in no process of its own.
    fn bare_status(&self, now: SystemTime) -> observe::Status {
        let snapshot = self.identity.snapshot();
        observe::Status {
            service: "issuer".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: timestamp::rfc3339_millis(self.started_at),
            now: timestamp::rfc3339_millis(now),
            spiffe_id: snapshot.svid.spiffe_id().to_string(),
            listen: self.listen.get().map(ToString::to_string).unwrap_or_default(),
            svid: Some(observe::Svid {
                serial: snapshot.svid.leaf().serial().to_owned(),
                not_before: timestamp::rfc3339_millis(snapshot.svid.leaf().not_before()),
                not_after: timestamp::rfc3339_millis(snapshot.svid.not_after()),
                key_matches: true, // else there would be no `Svid`
                authorities: Vec::new(),
            }),
            trust_stream: "none".to_owned(),
            ..observe::Status::default()
        }
    }
}

async fn ask_store(issuance: &Issuance, now: SystemTime) -> Result<Counts, StoreError> {
    issuance.store.probe(now).await?;
    issuance.store.counts(now).await
}

fn bundle(issuance: &Issuance) -> observe::TrustBundle {
    let bundle = issuance.trust.current();
    observe::TrustBundle {
        trust_domain: bundle.trust_domain().to_string(),
        sequence: bundle.sequence(),
        roots: bundle.authorities().iter().map(authority).collect(),
    }
}

fn authority(authority: &Authority) -> observe::Authority {
    observe::Authority {
        subject: authority.subject().to_owned(),
        key_id: authority.key_id().unwrap_or_default().to_owned(),
        fingerprint: authority.fingerprint(),
        not_before: timestamp::rfc3339_millis(authority.not_before()),
        not_after: timestamp::rfc3339_millis(authority.not_after()),
    }
}

/// The room on the disk that holds `path`.
fn disk(path: &Path) -> observe::Disk {
    let shown = path.display().to_string();
    match rustix::fs::statvfs(path) {
        Ok(found) => observe::Disk {
            path: shown,
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            problem: String::new(),
        },
        Err(error) => observe::Disk { path: shown, problem: error.to_string(), ..observe::Disk::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_its_room_or_what_is_wrong() {
        let here = disk(Path::new("/"));
        assert!(here.total_bytes > 0 && here.free_bytes <= here.total_bytes && here.problem.is_empty());
        let nowhere = disk(Path::new("/no/such/place"));
        assert!(nowhere.problem.contains("No such file"), "{}", nowhere.problem);
    }
}
