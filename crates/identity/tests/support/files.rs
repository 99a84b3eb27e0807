//! An identity's files, and how they are replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_identity::{FilesConfig, Identity, IdentityConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> IdentityConfig {
        IdentityConfig::Files(FilesConfig {
            certificate: self.path("svid.pem"),
            key: self.path("key.pem"),
            bundle: self.path("bundle.pem"),
            federated: Vec::new(),
            poll_ms: 10,
            spiffe_id: None,
        })
    }

    pub fn write(&self, chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) {
        write(&self.path("svid.pem"), &chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>());
        write(&self.path("key.pem"), &pem("PRIVATE KEY", key.secret_der()));
    }

    pub fn write_bundle(&self, root: &CertificateDer<'_>) {
        write(&self.path("bundle.pem"), &pem("CERTIFICATE", root));
    }
}

pub fn write(path: &Path, contents: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, contents).expect("written");
    std::fs::rename(temporary, path).expect("renamed");
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

pub async fn serial_changes(identity: &Identity, from: &str) -> Option<String> {
    let mut states = identity.subscribe();
    let changed = states.wait_for(|state| state.svid.leaf().serial() != from);
    let state = tokio::time::timeout(Duration::from_secs(5), changed).await.ok()?.ok()?;
    Some(state.svid.leaf().serial().to_owned())
}
