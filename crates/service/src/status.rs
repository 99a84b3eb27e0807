//! The status of a process, read at the moment of a request from where each fact is kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use avouch_api::observe::v1::{
    Authority, Disk, GetPolicyResponse, Listener, Policy, PolicyState, Renewal, Share, ShareHolder,
    SourceProblem, Status, Svid, TrustBundle, TrustState, Upstream,
};
use avouch_authz::{ActivePolicy, Methods, PolicyHandle};
use avouch_identity::{Holder, Identity, Server, Shares, Usage};
use avouch_records::Source;
use avouch_spiffe::x509::{self, CertificateInfo};
use avouch_telemetry::TrustReading;
use avouch_time::clock::SharedClock;
use avouch_time::timestamp;

use crate::launch_options::{REVISION, VERSION};
use crate::lifecycle::{Lifecycle, Phase};
use crate::observe::{LatestEvents, Observer};
use crate::parts::AppParts;

/// The parts of a process that its status is made of.
#[derive(Debug)]
pub(crate) struct ProcessStatus {
    name: &'static str,
    started: SystemTime,
    clock: SharedClock,
    identity: Identity,
    policy: PolicyHandle,
    methods: Methods,
    observer: Observer,
    lifecycle: Lifecycle,
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
    shares: Shares,
}

/// How many holders of each resource are reported.
const HOLDERS: usize = 5;

impl Listening {
    pub(crate) fn of(address: SocketAddr, server: &Server) -> Self {
        let offer = server.tls_parameters();
        let listener = Listener {
            tls_versions: offer.versions.into_iter().map(str::to_owned).collect(),
            groups: offer.groups,
            resumption: offer.resumption,
            optional_client_certificate: server.admits_without_certificate(),
        };
        Self { address, listener, shares: server.shares() }
    }
}

impl ProcessStatus {
    pub(crate) fn new(parts: &AppParts, identity: &Identity, listening: &Arc<OnceLock<Listening>>) -> Self {
        let records = parts.config.records.file.as_ref().and_then(|file| file.path.parent());
        let disks = parts.state_dir.as_deref().into_iter().chain(records).map(Path::to_owned).collect();
        let own = identity.spiffe_id();
        let upstreams = parts.config.upstreams.iter().map(|(name, upstream)| Upstream {
            name: name.clone(),
            url: upstream.url.clone(),
            spiffe_id: upstream.id.resolve(own.trust_domain()).map(|id| id.to_string()).unwrap_or_default(),
        });
        Self {
            name: parts.name,
            started: parts.started,
            clock: parts.config.service.clock.clone(),
            identity: identity.clone(),
            policy: parts.policy.clone(),
            methods: parts.methods.clone(),
            observer: parts.observer.clone(),
            lifecycle: parts.lifecycle.clone(),
            health: parts.health_port.address,
            listening: Arc::clone(listening),
            disks,
            upstreams: upstreams.collect(),
            unused: Mutex::default(),
        }
    }

    fn svid(&self) -> Svid {
        let snapshot = self.identity.snapshot();
        let svid = &snapshot.svid;
        let signers = svid.chain().iter().skip(1).filter_map(|der| CertificateInfo::parse(der).ok());
        Svid {
            serial: svid.leaf().serial().to_owned(),
            not_before: timestamp::rfc3339_millis(svid.leaf().not_before()),
            not_after: timestamp::rfc3339_millis(svid.not_after()),
            key_matches: svid.key_matches(),
            authorities: signers
                .map(|facts| Authority {
                    subject: facts.subject,
                    key_id: facts.subject_key_id.unwrap_or_default(),
                    fingerprint: facts.sha256,
                    not_before: timestamp::rfc3339_millis(facts.not_before),
                    not_after: timestamp::rfc3339_millis(facts.not_after),
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

    fn trust(&self, news: &LatestEvents) -> TrustState {
        let snapshot = self.identity.snapshot();
        let state = snapshot.trust.state();
        TrustState {
            epoch: state.generation.epoch,
            counter: state.generation.counter,
            revocations: state.revocations.len().try_into().unwrap_or(u64::MAX),
            // A state that was there at the start, as of files that have not changed.
            since: timestamp::rfc3339_millis(news.trust_since.unwrap_or(self.started)),
            connections_ended: self.identity.connections_ended(),
            outage_budget_seconds: outage_budget(snapshot.svid.not_after(), self.clock.now()),
            problem: news.trust_problem.clone().unwrap_or_default(),
        }
    }

    fn policy_state(&self) -> Option<PolicyState> {
        let current = self.policy.active()?;
        Some(PolicyState {
            source: current.policy.source().to_owned(),
            version: current.policy.version().to_owned(),
            since: timestamp::rfc3339_millis(current.since),
            problem: self.policy.problem().unwrap_or_default(),
            tests: current.policy.tests().try_into().unwrap_or(u64::MAX),
            unused: self.unused(&current.policy),
            audit: current.policy.audits(),
        })
    }

    /// The lines of the policy without any effect. Computed once per policy, since it checks every line.
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

/// The trust state in use, for the metrics page.
pub(crate) fn trust_reading(identity: &Identity, observer: &Observer, now: SystemTime) -> TrustReading {
    let snapshot = identity.snapshot();
    let state = snapshot.trust.state();
    let [accepted_ended, opened_ended] = identity.connections_ended_by_side();
    // Exact for a few million years.
    #[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating-point")]
    let outage_budget_seconds = outage_budget(snapshot.svid.not_after(), now) as f64;
    TrustReading {
        epoch: state.generation.epoch,
        counter: state.generation.counter,
        revocations: state.revocations.len().try_into().unwrap_or(u64::MAX),
        accepted_ended,
        opened_ended,
        outage_budget_seconds,
        issuer_silence_seconds: observer.news().issuer_silence(now).map(|silence| silence.as_secs_f64()),
    }
}

/// Seconds until the first certificate fails if the issuer stays away: until the own SVID ends. Below zero it has ended.
fn outage_budget(not_after: SystemTime, now: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match not_after.duration_since(now) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()),
    }
}

fn authority(authority: &x509::Authority) -> Authority {
    Authority {
        subject: authority.subject().to_owned(),
        key_id: authority.key_id().unwrap_or_default().to_owned(),
        fingerprint: authority.fingerprint(),
        not_before: timestamp::rfc3339_millis(authority.not_before()),
        not_after: timestamp::rfc3339_millis(authority.not_after()),
    }
}

impl Source for ProcessStatus {
    fn status(&self) -> Status {
        let news = self.observer.news();
        let listening = self.listening.get();
        let clock = self.identity.clock_difference();
        Status {
            service: self.name.to_owned(),
            version: VERSION.to_owned(),
            revision: REVISION.unwrap_or_default().to_owned(),
            started_at: timestamp::rfc3339_millis(self.started),
            now: timestamp::rfc3339_millis(self.clock.now()),
            spiffe_id: self.identity.spiffe_id().to_string(),
            listen: listening.map(|listening| listening.address.to_string()).unwrap_or_default(),
            health_listen: self.health.to_string(),
            phase: match self.lifecycle.phase() {
                Phase::Starting => "starting",
                Phase::Serving => "serving",
                Phase::Draining => "draining",
            }
            .to_owned(),
            svid: Some(self.svid()),
            last_renewal: news.renewal.as_ref().map(|renewal| Renewal {
                how: renewal.how.to_owned(),
                at: timestamp::rfc3339_millis(renewal.at),
                error: renewal.error.clone().unwrap_or_default(),
            }),
            bundle: self.bundle(),
            trust_stream: match news.trust_stream {
                Some(true) => "up",
                Some(false) => "down",
                None => "none",
            }
            .to_owned(),
            clock_ahead_millis: clock.map(|clock| clock.ahead_millis).unwrap_or_default(),
            issuer_clock_at: clock
                .map(|clock| timestamp::rfc3339_millis(clock.measured_at))
                .unwrap_or_default(),
            policy: self.policy_state(),
            listener: listening.map(|listening| listening.listener.clone()),
            records: Some(self.observer.recorder().state()),
            disks: self.disks.iter().map(|path| disk(path)).collect(),
            upstreams: self.upstreams.clone(),
            shares: listening.map(|listening| shares(&listening.shares)).unwrap_or_default(),
            identity_problems: self.identity.source_problems().borrow().iter().map(problem).collect(),
            trust: Some(self.trust(&news)),
        }
    }

    fn policy(&self) -> GetPolicyResponse {
        GetPolicyResponse {
            current: self.policy.active().map(policy),
            previous: self.policy.previous().map(policy),
            methods: self.methods.iter().map(avouch_records::method).collect(),
        }
    }
}

fn shares(of: &Shares) -> Vec<Share> {
    let holder = |holder: Holder| ShareHolder {
        spiffe_id: holder.spiffe_id.map(|id| id.to_string()).unwrap_or_default(),
        network: holder.network.to_string(),
        held: holder.held,
    };
    let share = |usage: Usage| Share {
        resource: usage.resource.name().to_owned(),
        used: usage.used,
        limit: usage.limit,
        refused: usage.refused,
        holders: usage.holders.into_iter().map(holder).collect(),
    };
    of.usage(HOLDERS).into_iter().map(share).collect()
}

fn problem(of: &avouch_identity::SourceProblem) -> SourceProblem {
    SourceProblem {
        part: of.part.clone(),
        path: of.path.display().to_string(),
        detail: of.detail.clone(),
        reason: of.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        since: timestamp::rfc3339_millis(of.since),
    }
}

fn policy(of: ActivePolicy) -> Policy {
    Policy {
        source: of.policy.source().to_owned(),
        version: of.policy.version().to_owned(),
        since: timestamp::rfc3339_millis(of.since),
        text: of.policy.text().to_owned(),
    }
}

/// The free space, and whether the process may write there.
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
    fn the_outage_budget_is_what_the_own_svid_has_left() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!((outage_budget(at(100), at(40)), outage_budget(at(40), at(100))), (60, -60));
    }

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
