//! What stands in the way of an identity's files, for whoever asks how a process is.

use std::path::PathBuf;
use std::time::SystemTime;

use avouch_spiffe::Reason;

/// Why what a file of an identity holds is not in use. The last good content stays in use, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceProblem {
    /// Which part of the identity: `certificate` (with its key), `bundle`, or `bundle of TRUST-DOMAIN`.
    pub part: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what mends it where that is known. Holds no octet of a key.
    pub detail: String,
    /// The word for a certificate that peers would refuse.
    pub reason: Option<Reason>,
    /// Since when.
    pub since: SystemTime,
}
