//! Looks for key and token material where it must not be: in logs, and in what the demo itself writes.
//!
//! What to look for is collected while the run goes on, since keys change with every renewal: the join tokens and
//! their secrets, and every private key that lies in a state directory. A run of the demo that leaks one fails.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a leak looks like even if it is nothing the collector has seen.
const MARKS: &[&str] = &["PRIVATE KEY", "avjt1."];

/// Shorter pieces would be found by chance.
const LEAST: usize = 24;

/// The material to look for.
#[derive(Default)]
pub struct Secrets(BTreeSet<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} pieces)", self.0.len())
    }
}

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

impl Secrets {
    /// How many pieces are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A join token: whole, its payload, and the secret inside of it.
    pub fn token(&mut self, token: &str) {
        self.piece(token);
        if let Some((_, payload)) = token.split_once('.') {
            self.piece(payload);
        }
        if let Ok(parsed) = token.parse::<avouch_spiffe::JoinToken>() {
            self.piece(parsed.secret());
        }
    }

    /// The private keys in all PEM files below `dir`.
    pub fn keys_below(&mut self, dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.keys_below(&path);
            } else if path.extension().is_some_and(|extension| extension == "pem" || extension == "key")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                self.keys_in(&text);
            }
        }
    }

    fn keys_in(&mut self, pem: &str) {
        let mut inside = false;
        for line in pem.lines() {
            if line.starts_with("-----BEGIN") {
                inside = line.contains("PRIVATE KEY");
            } else if line.starts_with("-----END") {
                inside = false;
            } else if inside {
                // The first line of each PKCS#8 key begins alike: only what is behind the header is the key's own.
                self.piece(line.get(line.len().saturating_sub(40)..).unwrap_or(line));
            }
        }
    }

    fn piece(&mut self, piece: &str) {
        if piece.len() >= LEAST {
            self.0.insert(piece.to_owned());
        }
    }

    /// Everything that leaked into these files.
    #[must_use]
    pub fn leaks(&self, files: &[PathBuf]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for file in files {
            let text = std::fs::read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let pieces = MARKS.iter().copied().chain(self.0.iter().map(String::as_str));
            for at in pieces.filter_map(|piece| text.find(piece)) {
                let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
                let leak = Leak { file: file.clone(), line };
                if !leaks.contains(&leak) {
                    leaks.push(leak);
                }
            }
        }
        leaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAECAwQFBgcICQoL\n\
        DA0ODxAREhMUFRYXGBkaGxwdHh+hRANCAASample0123456789ABCDEFGHIJKLMN\n\
        -----END PRIVATE KEY-----\n\
        -----BEGIN CERTIFICATE-----\nMIIBpublicpublicpublicpublicpublicpublicpublicpublicpublicpublic\n\
        -----END CERTIFICATE-----\n";

    fn log(dir: &Path, text: &str) -> Vec<PathBuf> {
        let file = dir.join("a.log");
        std::fs::write(&file, text).unwrap();
        vec![file]
    }

    fn collected(dir: &Path) -> Secrets {
        std::fs::create_dir(dir.join("state")).unwrap();
        std::fs::write(dir.join("state/svid.pem"), KEY).unwrap();
        let mut secrets = Secrets::default();
        secrets.keys_below(dir);
        secrets
    }

    #[test]
    fn a_line_of_a_key_in_a_log_is_found_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = collected(dir.path());
        let text =
            "{\"a\":1}\n{\"key\":\"DA0ODxAREhMUFRYXGBkaGxwdHh+hRANCAASample0123456789ABCDEFGHIJKLMN\"}\n";
        assert_eq!(secrets.leaks(&log(dir.path(), text))[0].line, 2);
    }

    #[test]
    fn certificates_are_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = collected(dir.path());
        let text = "MIIBpublicpublicpublicpublicpublicpublicpublicpublicpublicpublic";
        assert_eq!(secrets.leaks(&log(dir.path(), text)), []);
    }

    #[test]
    fn any_pem_key_and_any_token_are_found_even_if_nobody_knows_them() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["-----BEGIN EC PRIVATE KEY-----", "token=avjt1.e30"] {
            assert_eq!(Secrets::default().leaks(&log(dir.path(), text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn the_secret_inside_of_a_token_is_looked_for_as_well() {
        let mut secrets = Secrets::default();
        secrets.token("avjt1.abcdefghijklmnopqrstuvwxyz0123456789");
        assert!(secrets.0.contains("abcdefghijklmnopqrstuvwxyz0123456789"));
        assert!(!format!("{secrets:?}").contains("abcdef"));
    }
}
