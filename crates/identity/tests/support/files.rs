//! An identity's files, and how they are replaced.

use std::path::PathBuf;
use std::time::Duration;

use avouch_identity::{FederatedBundle, FilesConfig, Identity, IdentityConfig, IdentityError, SourceProblem};
pub use avouch_testkit::files::{certificates, replace as write, replace_with_mode as write_key, set_mode};
use avouch_testkit::wait::DEADLINE;
pub use avouch_testkit::wait::within;
use avouch_time::clock::ManualClock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub struct Files {
    dir: tempfile::TempDir,
    federated: Vec<FederatedBundle>,
}

impl Files {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), federated: Vec::new() }
    }

    /// With the bundle `NAME.pem` for another trust domain.
    pub fn federated(mut self, name: &str, trust_domain: &str) -> Self {
        let trust_domain = trust_domain.parse().expect("a trust domain");
        self.federated.push(FederatedBundle { trust_domain, bundle: self.path(&format!("{name}.pem")) });
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn files(&self) -> FilesConfig {
        FilesConfig {
            certificate: self.path("svid.pem"),
            key: self.path("key.pem"),
            bundle: self.path("bundle.pem"),
            federated: self.federated.clone(),
            poll_interval: Duration::from_millis(10),
            spiffe_id: None,
        }
    }

    pub fn config(&self) -> IdentityConfig {
        IdentityConfig::Files(self.files())
    }

    pub async fn start(&self) -> Result<Identity, IdentityError> {
        within(Identity::start(self.config())).await
    }

    pub async fn start_by(&self, clock: &ManualClock) -> Result<Identity, IdentityError> {
        within(Identity::starter(self.config()).clock(clock.shared()).start()).await
    }

    pub fn write(&self, chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) {
        self.write_chain(chain);
        self.write_key(key);
    }

    pub fn write_chain(&self, chain: &[CertificateDer<'_>]) {
        write(&self.path("svid.pem"), certificates(chain));
    }

    pub fn write_key(&self, key: &PrivateKeyDer<'_>) {
        write_key(&self.path("key.pem"), pem("PRIVATE KEY", key.secret_der()), 0o600);
    }

    pub fn write_bundle(&self, root: &CertificateDer<'_>) {
        self.write_roots("bundle", &[root]);
    }

    pub fn write_roots(&self, name: &str, roots: &[&CertificateDer<'_>]) {
        let roots: Vec<_> = roots.iter().map(|root| (*root).clone()).collect();
        write(&self.path(&format!("{name}.pem")), certificates(&roots));
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    avouch_files::pem::encode(label, der)
}

pub async fn serial_changes(identity: &Identity, from: &str) -> Option<String> {
    let mut states = identity.subscribe();
    let changed = states.wait_for(|state| state.svid.leaf().serial() != from);
    let state = within(changed).await.ok()?;
    Some(state.svid.leaf().serial().to_owned())
}

pub fn serial(identity: &Identity) -> String {
    identity.snapshot().svid.leaf().serial().to_owned()
}

/// Waits until what is said to stand in the way fits.
pub async fn problems(identity: &Identity, fits: impl Fn(&[SourceProblem]) -> bool) -> Vec<SourceProblem> {
    let mut told = identity.source_problems();
    let fitting = async { told.wait_for(|told| fits(told)).await.expect("a live source").clone() };
    match tokio::time::timeout(DEADLINE, fitting).await {
        Ok(told) => told,
        Err(_) => panic!("what is said does not come to fit: {:?}", identity.source_problems().borrow()),
    }
}

/// Waits until one part has a problem with these words.
pub async fn problem(identity: &Identity, part: &str, words: &str) -> SourceProblem {
    let fits = |told: &SourceProblem| told.part == part && told.detail.contains(words);
    let told = problems(identity, |told| told.iter().any(fits)).await;
    told.into_iter().find(fits).expect("one that fits")
}

/// Waits until nothing stands in the way.
pub async fn no_problem(identity: &Identity) {
    problems(identity, <[_]>::is_empty).await;
}
