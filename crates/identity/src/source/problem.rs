//! A problem with an identity's files, as a process reports it.

use std::path::PathBuf;
use std::time::SystemTime;

use avouch_spiffe::Reason;

/// A file of an identity whose content is not in use. The last good content stays in use, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceProblem {
    /// The part of the identity: `certificate` (with its key), `bundle`, or `bundle of TRUST-DOMAIN`.
    pub part: String,
    /// The file.
    pub path: PathBuf,
    /// The particulars, and the cure where it is known. Holds no octet of a key.
    pub detail: String,
    /// The reason, for a certificate that peers would reject.
    pub reason: Option<Reason>,
    /// The time since which this part has had a problem.
    pub since: SystemTime,
}
