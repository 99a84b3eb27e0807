//! The profiles as they are written. Every key is required and unknown ones are refused, so a profile has no hidden
//! defaults.

use avouch_spiffe::x509::KeyAlgorithm;
use avouch_time::ConfigDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ProfileError;

/// `root.toml` and `signing-authority.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaFile {
    /// The common name, with `{trust_domain}` and `{key_id}`.
    pub(super) common_name: String,
    /// The key that is made for it.
    pub(super) key_algorithm: KeyName,
    /// The lifetime.
    pub(super) lifetime: ConfigDuration,
    /// The most by which `notBefore` is put back; never more than half of the lifetime.
    pub(super) backdate: ConfigDuration,
}

/// `svid.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SvidFile {
    /// Keys that SVIDs are issued for.
    pub(super) key_algorithms: Vec<KeyName>,
    /// The life of an SVID whose entry names none.
    pub(super) default_lifetime: ConfigDuration,
    /// The shortest life an entry may name.
    pub(super) min_lifetime: ConfigDuration,
    /// The longest life an entry may name.
    pub(super) max_lifetime: ConfigDuration,
    /// The most by which `notBefore` is put back; never more than half of the lifetime.
    pub(super) backdate: ConfigDuration,
    /// The most DNS names that an entry may have.
    pub(super) max_dns_names: usize,
}

/// A key algorithm by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum KeyName {
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
}

impl KeyName {
    pub(super) fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::EcdsaP256 => KeyAlgorithm::EcdsaP256,
            Self::EcdsaP384 => KeyAlgorithm::EcdsaP384,
        }
    }
}

/// Parses a form; the error has the line, never the text of the file.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ProfileError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count().saturating_add(1);
        ProfileError::Form { file: file.to_owned(), line, message: error.message().to_owned() }
    })
}
