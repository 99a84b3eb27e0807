//! What the issuer tells its local administrator of itself: how it is doing, and what it remembers.
//!
//! What every process knows of itself (its records, its renewals, its listener) comes from the process the issuer runs
//! in, behind [`Process`]; what only an issuer knows is asked of its parts, at the moment of the question. Tells
//! nothing secret: no token, no key, no certificate.

use crate::issuing::Issuing;
use crate::store::{Counts, StoreError};
use avouch_api::observe::v1 as observe;
use avouch_identity::Identity;
use avouch_records::text;
use avouch_spiffe::x509::Authority;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// A store that takes longer than this is as good as one that fails.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What the process that an issuer runs in knows of itself.
pub trait Process: Send + Sync + fmt::Debug + 'static {
    /// How it is doing. Called off the async threads: it may look at the disk.
    fn status(&self) -> observe::Status;
    /// Its latest records that match, oldest first; at most `limit`, `None`: all there are.
    fn records(&self, filter: &observe::Filter, limit: Option<usize>) -> Vec<observe::Record>;
}

/// Everything a description is made of.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) identity: Identity,
    pub(crate) data_dir: PathBuf,
    pub(crate) started_at: SystemTime,
    pub(crate) process: OnceLock<Arc<dyn Process>>,
    pub(crate) listen: OnceLock<SocketAddr>,
    pub(crate) advertised: OnceLock<Vec<String>>,
}

impl About {
    pub(crate) fn new(identity: Identity, data_dir: PathBuf, started_at: SystemTime) -> Self {
        Self {
            identity,
            data_dir,
            started_at,
            process: OnceLock::new(),
            listen: OnceLock::new(),
            advertised: OnceLock::new(),
        }
    }

    /// The issuer's records; none where it runs in no process that keeps any.
    pub(crate) fn records(&self, filter: &observe::Filter, limit: Option<usize>) -> Vec<observe::Record> {
        self.process.get().map(|process| process.records(filter, limit)).unwrap_or_default()
    }

    /// How the issuer is doing. Writes to the store and reads from it; what it says is part of the answer.
    pub(crate) async fn issuer(&self, issuing: &Issuing) -> observe::Issuer {
        let now = issuing.clock.now();
        let (store_problem, counts) =
            match tokio::time::timeout(STORE_PATIENCE, ask_store(issuing, now)).await {
                Ok(Ok(counts)) => (String::new(), counts),
                Ok(Err(error)) => (avouch_text::with_causes(&error).to_string(), Counts::default()),
                Err(_elapsed) => {
                    (format!("the store does not answer within {STORE_PATIENCE:?}"), Counts::default())
                }
            };
        let (mut process, own_disk) = self.of_the_system(now).await;
        process.bundle = Some(bundle(issuing));
        process.disks.retain(|disk| disk.path != own_disk.path);
        process.disks.insert(0, own_disk);
        observe::Issuer {
            addresses: self.addresses(&process.listen),
            process: Some(process),
            signing: vec![authority(issuing.authorities.signing().certificate())],
            store_problem,
            entries: counts.entries,
            certificates: counts.certificates,
        }
    }

    /// What the process and the disk say, which may take its time.
    async fn of_the_system(&self, now: SystemTime) -> (observe::Status, observe::Disk) {
        let (process, data_dir) = (self.process.get().map(Arc::clone), self.data_dir.clone());
        let asked =
            tokio::task::spawn_blocking(move || (process.map(|process| process.status()), disk(&data_dir)));
        let (status, disk) = asked.await.unwrap_or_else(|failed| {
            let (path, problem) = (self.data_dir.display().to_string(), failed.to_string());
            (None, observe::Disk { path, problem, ..observe::Disk::default() })
        });
        (status.unwrap_or_else(|| self.bare_status(now)), disk)
    }

    fn addresses(&self, listen: &str) -> Vec<String> {
        match self.advertised.get() {
            Some(advertised) if !advertised.is_empty() => advertised.clone(),
            _ => Some(listen.to_owned()).filter(|listen| !listen.is_empty()).into_iter().collect(),
        }
    }

    /// What can be said without a process around the issuer.
    fn bare_status(&self, now: SystemTime) -> observe::Status {
        let snapshot = self.identity.snapshot();
        observe::Status {
            service: "issuer".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: text::time(self.started_at),
            now: text::time(now),
            spiffe_id: snapshot.svid.spiffe_id().to_string(),
            listen: self.listen.get().map(ToString::to_string).unwrap_or_default(),
            svid: Some(observe::Svid {
                serial: snapshot.svid.leaf().serial().to_owned(),
                not_before: text::time(snapshot.svid.leaf().not_before()),
                not_after: text::time(snapshot.svid.not_after()),
                key_matches: true, // else there would be no `Svid`
                authorities: Vec::new(),
            }),
            trust_stream: "none".to_owned(),
            ..observe::Status::default()
        }
    }
}

async fn ask_store(issuing: &Issuing, now: SystemTime) -> Result<Counts, StoreError> {
    issuing.store.probe(now).await?;
    issuing.store.counts(now).await
}

fn bundle(issuing: &Issuing) -> observe::TrustBundle {
    let bundle = issuing.trust.current();
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
        not_before: text::time(authority.not_before()),
        not_after: text::time(authority.not_after()),
    }
}

/// How much room there is on the disk that holds `path`.
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
