//! `certs/dev/`: the bundle and a current client SVID as PEM files, for openssl and curl.
//!
//! The files follow the identity of whoever holds them: each new SVID replaces them, key and certificate together
//! as well as two files can. The key is readable by its owner alone, and the directory is not under version control.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use avouch_identity::Identity;
use avouch_spiffe::TrustDomain;
use base64::Engine as _;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct DevFiles {
    dir: PathBuf,
    // Where the identity keeps its key.
    state: PathBuf,
}

impl DevFiles {
    /// Files in `dir`, of an identity whose state directory is `state`.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn new(dir: PathBuf, state: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, state })
    }

    /// Writes the identity's present state.
    ///
    /// # Errors
    /// When a file can't be read or written.
    pub fn write(&self, identity: &Identity, trust_domain: &TrustDomain) -> io::Result<()> {
        let snapshot = identity.snapshot();
        let mut bundle = String::new();
        if let Some(own) = snapshot.trust.bundles().get(trust_domain) {
            for authority in own.authorities() {
                bundle.push_str(&pem(authority.der()));
            }
        }
        self.replace("bundle.pem", bundle.as_bytes(), 0o644)?;
        let stored = std::fs::read_to_string(self.state.join("svid.pem"))?;
        let (key, chain) =
            split(&stored).ok_or_else(|| io::Error::other("the stored SVID has no key or no chain"))?;
        self.replace("svid.key", key.as_bytes(), 0o600)?;
        self.replace("svid.pem", chain.as_bytes(), 0o644)
    }

    /// Writes it now and after each renewal, until dropped.
    pub async fn keep(&self, identity: Identity, trust_domain: &TrustDomain) -> io::Result<()> {
        let mut states = identity.subscribe();
        while states.changed().await.is_ok() {
            self.write(&identity, trust_domain)?;
        }
        Ok(())
    }

    fn replace(&self, name: &str, contents: &[u8], mode: u32) -> io::Result<()> {
        let new = self.dir.join(format!(".{name}.new"));
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(contents)?;
        std::fs::rename(&new, self.dir.join(name))
    }
}

/// The private key and the certificates of a file that holds both.
fn split(stored: &str) -> Option<(&str, &str)> {
    let chain = stored.find("-----BEGIN CERTIFICATE-----")?;
    let (key, chain) = stored.split_at_checked(chain)?;
    (key.starts_with("-----BEGIN") && key.contains("PRIVATE KEY")).then_some((key, chain))
}

fn pem(der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while let Some((line, more)) =
        rest.split_at_checked(rest.len().min(64)).filter(|(line, _)| !line.is_empty())
    {
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_chain_are_told_apart() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let chain = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        assert_eq!(split(&format!("{key}{chain}{chain}")), Some((key, format!("{chain}{chain}").as_str())));
        assert_eq!(split(chain), None);
        assert_eq!(split(key), None);
        assert_eq!(split(&format!("{chain}{key}")), None);
    }

    #[test]
    fn a_certificate_is_wrapped_as_pem() {
        let text = pem(&[0xff; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(text.lines().count(), 5);
    }
}
