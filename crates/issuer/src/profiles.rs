//! The certificate profiles an issuer works by: built in, or from a directory.

use avouch_issuance::{ProfileError, Profiles, RootProfile, SigningAuthorityProfile, SvidProfile};
use std::io;
use std::path::{Path, PathBuf};

/// The largest profile that is read; one has some hundred octets.
const PROFILE_LIMIT: u64 = 64 * 1024;

/// A failure to load the profiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfilesError {
    /// A file cannot be read.
    #[error("cannot read the certificate profile {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The content of a profile is invalid.
    #[error("a certificate profile cannot be used")]
    Profile(#[from] ProfileError),
}

/// Loads `root.toml`, `signing-authority.toml` and `svid.toml` from a directory; `None`: the built-in ones.
pub fn load(directory: Option<&Path>) -> Result<Profiles, ProfilesError> {
    let Some(directory) = directory else { return Ok(Profiles::embedded()?) };
    let read = |name: &str| {
        let path = directory.join(name);
        match read_text(&path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(source) => Err(ProfilesError::Read { path, source }),
        }
    };
    let (root_name, root) = read("root.toml")?;
    let (authority_name, authority) = read("signing-authority.toml")?;
    let (svid_name, svid) = read("svid.toml")?;
    Ok(Profiles {
        root: RootProfile::parse(&root_name, &root)?,
        signing_authority: SigningAuthorityProfile::parse(&authority_name, &authority)?,
        svid: SvidProfile::parse(&svid_name, &svid)?,
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = avouch_files::read(path, PROFILE_LIMIT)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_the_repository_are_those_built_in() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../certs");
        let (built_in, read) = (load(None).unwrap(), load(Some(&directory)).unwrap());
        assert_eq!(built_in.svid.default_lifetime(), read.svid.default_lifetime());
        assert_eq!(built_in.root.lifetime(), read.root.lifetime());
        assert_eq!(built_in.signing_authority.lifetime(), read.signing_authority.lifetime());
    }

    #[test]
    fn a_profile_that_is_no_file_of_a_profiles_size_is_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("root.toml");
        let refused = || avouch_text::with_causes(&load(Some(temp.path())).unwrap_err()).to_string();
        rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(refused().contains("FIFO"), "{}", refused());
        std::fs::remove_file(&place).unwrap();
        std::fs::write(&place, vec![b' '; 70_000]).unwrap();
        assert!(refused().contains("64 KiB"), "{}", refused());
        std::fs::write(&place, b"\xff\xfe").unwrap();
        assert!(refused().contains("UTF-8"), "{}", refused());
    }

    #[test]
    fn a_missing_or_wrong_profile_is_named_with_its_path() {
        let temp = tempfile::tempdir().unwrap();
        let error = load(Some(temp.path())).unwrap_err();
        assert!(error.to_string().contains("root.toml"), "{error}");
        std::fs::write(temp.path().join("root.toml"), "lifetime = 'forever'").unwrap();
        for name in ["signing-authority.toml", "svid.toml"] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        let error = avouch_text::with_causes(&load(Some(temp.path())).unwrap_err()).to_string();
        assert!(error.contains("root.toml"), "{error}");
    }
}
