//! Programs on the service shell, started as they are shipped.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use avouch_testkit::files;
use serde::Deserialize;

use crate::child::{Child, Launch};
use crate::error::Error;
use crate::pki::{Pki, SERVER};
use crate::roles::serve;

/// Where a program on the service shell listens, as it says itself.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Addresses {
    /// Mutual TLS.
    pub grpc: SocketAddr,
    /// The plain health port.
    pub health: SocketAddr,
}

/// Starts a program with these settings (`section.key=value`) and waits until it listens: on ports of the system's
/// choice, unless a setting says otherwise. `dir` is a directory of its own, and `logs` the place of its log.
///
/// # Errors
/// When it does not start.
pub fn start(
    launch: Launch,
    dir: &Path,
    settings: &[String],
    logs: &Path,
) -> Result<(Child, Addresses), Error> {
    fs::create_dir_all(dir).map_err(Error::system(format!("make {}", dir.display())))?;
    let file = dir.join("address.json");
    // The file of an earlier process must not be taken for this one's.
    let _ = fs::remove_file(&file);
    let own = ["service.listen=127.0.0.1:0".to_owned(), "health.listen=127.0.0.1:0".to_owned()];
    let file_setting = set("service.address_file", &file);
    let settings: Vec<_> = own.into_iter().chain([file_setting]).chain(settings.iter().cloned()).collect();
    let mut child = with(launch, &settings).start(logs)?;
    let text = child.wrote(&file)?;
    let addresses = serde_json::from_str(&text).map_err(|error| Error::other(format!("{text}: {error}")))?;
    Ok((child, addresses))
}

/// The settings of a server of the run: its identity from files, and the policy.
///
/// # Errors
/// As [`policy`].
pub fn identity_and_policy(pki: &Pki, dir: &Path) -> Result<Vec<String>, Error> {
    Ok(identity(pki).into_iter().chain([policy(dir)?]).collect())
}

/// The settings of the server's identity from files.
#[must_use]
pub fn identity(pki: &Pki) -> [String; 4] {
    [
        "identity.source=files".to_owned(),
        set("identity.certificate", &pki.chain(SERVER)),
        set("identity.key", &pki.key(SERVER)),
        set("identity.bundle", &pki.root()),
    ]
}

/// The setting of the policy that lets the caller call, which is written to `dir`.
///
/// # Errors
/// When the directory cannot be made.
pub fn policy(dir: &Path) -> Result<String, Error> {
    fs::create_dir_all(dir).map_err(Error::system(format!("make {}", dir.display())))?;
    let policy = dir.join("policy.toml");
    // A program waits two seconds for a file that looks as if it were still being written.
    files::install(&policy, serve::policy());
    Ok(set("authz.policy", &policy))
}

/// Adds settings (`section.key=value`) to a program's arguments; the last value of a key counts.
#[must_use]
pub fn with(launch: Launch, settings: &[String]) -> Launch {
    settings.iter().fold(launch, |launch, setting| launch.arg("--set").arg(setting))
}

/// The setting of a path.
#[must_use]
pub fn set(key: &str, path: &Path) -> String {
    format!("{key}={}", path.display())
}
