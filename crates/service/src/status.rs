//! What a process says of itself when it is asked: gathered at that moment, from where each fact is kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use avouch_api::observe::v1::{
    Authority, Disk, GetPolicyResponse, Listener, Policy, PolicyState, Renewal, SourceProblem, Status, Svid,
    TrustBundle, Upstream,
};
use avouch_authz::{InForce, Methods, PolicyHandle};
use avouch_identity::{Identity, Server};
use avouch_records::{Source, text};
use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::x509::{self, Facts as CertificateFacts};

use crate::app::App;
use crate::launch::{REVISION, VERSION};
use crate::observe::Observer;
use crate::phase::{Life, Phase};

/// Where the facts are.
#[derive(Debug)]
pub(crate) struct Facts {
    name: &'static str,
    started: SystemTime,
    clock: SharedClock,
    identity: Identity,
    policy: PolicyHandle,
    methods: Methods,
    observer: Observer,
    life: Life,
    health: SocketAddr,
    listening: Arc<OnceLock<Listening>>,
    disks: Vec<PathBuf>,
    upstreams: Vec<Upstream>,
    /// By the policy's version.
    unused: Mutex<Option<(String, Vec<String>)>>,
}

/// The listener for mutual TLS, once there is one.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    listener: Listener,
}

impl Listening {
    pub(crate) fn of(address: SocketAddr, server: &Server) -> Self {
        let offer = server.offer();
        let listener = Listener {
            tls_versions: offer.versions.into_iter().map(str::to_owned).collect(),
            groups: offer.groups,
            resumption: offer.resumption,
            optional_client_certificate: server.admits_without_certificate(),
        };
        Self { address, listener }
    }
}

impl Facts {
    pub(crate) fn of(app: &App) -> Self {
        let parts = &app.parts;
        let records = parts.config.records.file.as_ref().and_then(|file| file.path.parent());
        let disks = parts.state_dir.as_deref().into_iter().chain(records).map(Path::to_owned).collect();
        let upstreams = parts.config.upstreams.iter().map(|(name, upstream)| Upstream {
            name: name.clone(),
            url: upstream.url.clone(),
            spiffe_id: upstream.id.to_string(),
        });
        Self {
            name: parts.name,
            started: parts.started,
            clock: parts.config.service.clock.clone(),
            identity: parts.identity.clone(),
            policy: parts.policy.clone(),
            methods: parts.methods.clone(),
            observer: parts.observer.clone(),
            life: parts.life.clone(),
            health: parts.health_port.address,
            listening: Arc::clone(&parts.listening),
            disks,
            upstreams: upstreams.collect(),
            unused: Mutex::default(),
        }
    }

    fn svid(&self) -> Svid {
        let snapshot = self.identity.snapshot();
        let svid = &snapshot.svid;
        let signers = svid.chain().iter().skip(1).filter_map(|der| CertificateFacts::parse(der).ok());
        Svid {
            serial: svid.leaf().serial().to_owned(),
            not_before: text::time(svid.leaf().not_before()),
            not_after: text::time(svid.not_after()),
            key_matches: svid.key_matches(),
            authorities: signers
                .map(|facts| Authority {
                    subject: facts.subject,
                    key_id: facts.subject_key_id.unwrap_or_default(),
                    fingerprint: facts.sha256,
                    not_before: text::time(facts.not_before),
                    not_after: text::time(facts.not_after),
                })
                .collect(),
        }
    }

    fn bundle(&self) -> Option<TrustBundle> {
        let snapshot = self.identity.snapshot();
        let bundle = snapshot.trust.bundles().get(snapshot.svid.spiffe_id().trust_domain())?;
        Some(TrustBundle {
            trust_domain: bundle.trust_domain().to_string(),
            sequence: bundle.sequence(),
            roots: bundle.authorities().iter().map(authority).collect(),
        })
    }

    fn policy_state(&self) -> Option<PolicyState> {
        let current = self.policy.in_force()?;
        Some(PolicyState {
            source: current.policy.source().to_owned(),
            version: current.policy.version().to_owned(),
            since: text::time(current.since),
            problem: self.policy.problem().unwrap_or_default(),
            tests: current.policy.tests().try_into().unwrap_or(u64::MAX),
            unused: self.unused(&current.policy),
            audit: current.policy.audits(),
        })
    }

    /// What of the policy does nothing. Once per policy: it takes a look at everything in it.
    fn unused(&self, policy: &avouch_authz::Policy) -> Vec<String> {
        let mut known = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((version, unused)) if version == policy.version() => unused.clone(),
            _ => {
                let unused: Vec<_> = policy.unused().iter().map(ToString::to_string).collect();
                *known = Some((policy.version().to_owned(), unused.clone()));
                unused
            }
        }
    }
}

fn authority(authority: &x509::Authority) -> Authority {
    Authority {
        subject: authority.subject().to_owned(),
        key_id: authority.key_id().unwrap_or_default().to_owned(),
        fingerprint: authority.fingerprint(),
        not_before: text::time(authority.not_before()),
        not_after: text::time(authority.not_after()),
    }
}

impl Source for Facts {
    fn status(&self) -> Status {
        let news = self.observer.news();
        let listening = self.listening.get();
        let clock = self.identity.clock_difference();
        Status {
            service: self.name.to_owned(),
            version: VERSION.to_owned(),
            revision: REVISION.unwrap_or_default().to_owned(),
            started_at: text::time(self.started),
            now: text::time(self.clock.now()),
            spiffe_id: self.identity.spiffe_id().to_string(),
            listen: listening.map(|listening| listening.address.to_string()).unwrap_or_default(),
            health_listen: self.health.to_string(),
            phase: match self.life.phase() {
                Phase::Starting => "starting",
                Phase::Serving => "serving",
                Phase::Draining => "draining",
            }
            .to_owned(),
            svid: Some(self.svid()),
            last_renewal: news.renewal.map(|renewal| Renewal {
                how: renewal.how.to_owned(),
                at: text::time(renewal.at),
                error: renewal.error.unwrap_or_default(),
            }),
            bundle: self.bundle(),
            trust_stream: match news.trust_stream {
                Some(true) => "up",
                Some(false) => "down",
                None => "none",
            }
            .to_owned(),
            clock_ahead_millis: clock.map(|clock| clock.ahead_millis).unwrap_or_default(),
            issuer_clock_at: clock.map(|clock| text::time(clock.measured_at)).unwrap_or_default(),
            policy: self.policy_state(),
            listener: listening.map(|listening| listening.listener.clone()),
            records: Some(self.observer.recorder().state()),
            disks: self.disks.iter().map(|path| disk(path)).collect(),
            upstreams: self.upstreams.clone(),
            identity_problems: self.identity.source_problems().borrow().iter().map(problem).collect(),
        }
    }

    fn policy(&self) -> GetPolicyResponse {
        GetPolicyResponse {
            current: self.policy.in_force().map(policy),
            previous: self.policy.previous().map(policy),
            methods: self.methods.iter().map(avouch_records::method).collect(),
        }
    }
}

fn problem(of: &avouch_identity::SourceProblem) -> SourceProblem {
    SourceProblem {
        part: of.part.clone(),
        path: of.path.display().to_string(),
        detail: of.detail.clone(),
        reason: of.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        since: text::time(of.since),
    }
}

fn policy(of: InForce) -> Policy {
    Policy {
        source: of.policy.source().to_owned(),
        version: of.policy.version().to_owned(),
        since: text::time(of.since),
        text: of.policy.text().to_owned(),
    }
}

/// How much room there is, and whether the process may write there.
fn disk(path: &Path) -> Disk {
    // The directory of a file without one is where the process runs.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut disk = Disk { path: path.display().to_string(), ..Disk::default() };
    match rustix::fs::statvfs(path) {
        Ok(found) => {
            disk.free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
            disk.total_bytes = found.f_blocks.saturating_mul(found.f_frsize);
        }
        Err(error) => disk.problem = std::io::Error::from(error).to_string(),
    }
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        disk.problem = std::io::Error::from(error).to_string();
    }
    disk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_tells_its_room_and_an_absent_one_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let found = disk(directory.path());
        assert!(found.total_bytes >= found.free_bytes && found.total_bytes > 0, "{found:?}");
        assert_eq!(found.problem, "");
        let absent = disk(&directory.path().join("absent"));
        assert!(absent.problem.contains("No such file"), "{absent:?}");
        assert_eq!(absent.total_bytes, 0);
        assert_eq!(disk(Path::new("")).path, ".");
    }
}
