//! The certificate profiles an issuer works by: built in, or from a directory.

use avouch_issuance::{ProfileError, Profiles, RootProfile, SigningAuthorityProfile, SvidProfile};
use std::path::{Path, PathBuf};

/// Why there are no profiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfilesError {
    /// A file cannot be read.
    #[error("cannot read the certificate profile {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file says what it must not.
    #[error("a certificate profile cannot be used")]
    Profile(#[from] ProfileError),
}

/// Loads `root.toml`, `signing-authority.toml` and `svid.toml` from a directory; `None`: the built-in ones.
pub fn load(directory: Option<&Path>) -> Result<Profiles, ProfilesError> {
    let Some(directory) = directory else { return Ok(Profiles::embedded()?) };
    let read = |name: &str| {
        let path = directory.join(name);
        match std::fs::read_to_string(&path) {
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
    fn a_missing_or_wrong_profile_is_named_with_its_path() {
        let temp = tempfile::tempdir().unwrap();
        let error = load(Some(temp.path())).unwrap_err();
        assert!(error.to_string().contains("root.toml"), "{error}");
        std::fs::write(temp.path().join("root.toml"), "lifetime = 'forever'").unwrap();
        for name in ["signing-authority.toml", "svid.toml"] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        let error = crate::error::chain(&load(Some(temp.path())).unwrap_err());
        assert!(error.contains("root.toml"), "{error}");
    }
}
