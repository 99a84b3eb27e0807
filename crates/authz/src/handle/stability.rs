//! When the content of a policy file may become the active policy (ADR 6).
//!
//! A file that is written in place can be read half written, and half a policy may let in callers whom its other half
//! denies. So content counts once it has been the same for [`STABLE_FOR`]. A file that was renamed to its name was finished
//! before it had that name, so for it one further equal look is enough.
//!
//! A renamed file is recognised by three signs together: it is not the file that the active policy was read from (device
//! and inode); the last thing that happened to it was not a write (its change time is later than its modification time; a
//! write sets both alike, a rename only the former); and it was not seen with other content under this name. On a file
//! system that does not keep these times, and after a rename within the clock tick of the last write, the 2 s are waited
//! for; no sign ever shortens the time of a file that is written in place. Content is compared, never dates.
//!
//! Nothing in this module reads a clock or a file.

use std::time::Duration;

use tokio::time::Instant;

/// How long content must have been the same. A writer that pauses for longer must write another file and rename it.
pub(super) const STABLE_FOR: Duration = Duration::from_secs(2);

/// The identity of a file, which tells it from another one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The SHA-256 of a file's content.
pub(super) type Hash = [u8; 32];

/// The finding of one look at the file.
#[derive(Clone, Debug)]
pub(super) enum Observation {
    /// The file could be read.
    Content {
        /// The content's hash.
        hash: Hash,
        /// The file it was read from.
        file: FileId,
        /// Whether the last thing that happened to the file was not a write.
        finished: bool,
        /// For how long nothing has happened to the file, as far as that is known.
        quiet: Duration,
    },
    /// The file could not be read, for this reason.
    Unreadable(String),
}

impl Observation {
    fn file(&self) -> Option<FileId> {
        match self {
            Self::Content { file, .. } => Some(*file),
            Self::Unreadable(_) => None,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Content { hash, .. }, Self::Content { hash: other, .. }) => hash == other,
            (Self::Unreadable(why), Self::Unreadable(other)) => why == other,
            _ => false,
        }
    }
}

/// The state of the file, which says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Its content is that of the active policy: nothing is to be done.
    Active,
    /// Its content may still be changing: look again.
    Changing {
        /// When content other than the active policy's was first seen that has not settled since.
        since: Instant,
    },
    /// Its content has settled: it is to be checked now.
    Settled,
    /// Its content has been checked already, and was not good: nothing is to be done.
    AlreadyRejected,
}

/// What earlier looks have found in a policy file.
#[derive(Debug, Default)]
pub(super) struct StabilityTracker {
    active: Option<(Hash, FileId)>,
    candidate: Option<Candidate>,
    changing_since: Option<Instant>,
}

#[derive(Debug)]
struct Candidate {
    observed: Observation,
    since: Instant,
    /// Renamed to its name: the next equal look settles it.
    renamed: bool,
    /// Checked, and not good.
    rejected: bool,
}

impl StabilityTracker {
    /// Takes in the finding of a look that began and ended at these times. `on_request`: somebody has asked for a reload, and
    /// need not wait for a file whose own times say that it has been quiet long enough.
    pub(super) fn look(
        &mut self,
        observed: &Observation,
        (began, ended): (Instant, Instant),
        on_request: bool,
    ) -> FileState {
        if let (Some(active), Observation::Content { hash, file, .. }) = (&mut self.active, observed)
            && active.0 == *hash
        {
            // A copy of the active content, renamed into place: from now on a writer in place would change this file.
            active.1 = *file;
            self.candidate = None;
            self.changing_since = None;
            return FileState::Active;
        }
        // A read can hang, and nobody knows at which moment of it the content was there. So the time for which content has
        // been the same is counted from the end of one look to the beginning of the next.
        let since = match observed {
            Observation::Content { quiet, .. } if on_request => {
                ended.checked_sub((*quiet).min(STABLE_FOR)).unwrap_or(ended)
            }
            _ => ended,
        };
        let renamed = self.is_renamed(observed);
        match &mut self.candidate {
            Some(known) if known.observed.says_the_same(observed) => {
                let same_file = known.observed.file() == observed.file();
                let settled =
                    known.renamed && same_file || began.saturating_duration_since(known.since) >= STABLE_FOR;
                if !same_file {
                    known.renamed = renamed;
                    known.observed = observed.clone();
                }
                known.since = known.since.min(since);
                match (known.rejected, settled) {
                    (true, _) if !on_request => FileState::AlreadyRejected,
                    (true, _) | (_, true) => FileState::Settled,
                    _ => FileState::Changing { since: *self.changing_since.get_or_insert(ended) },
                }
            }
            _ => {
                self.candidate =
                    Some(Candidate { observed: observed.clone(), since, renamed, rejected: false });
                FileState::Changing { since: *self.changing_since.get_or_insert(ended) }
            }
        }
    }

    fn is_renamed(&self, observed: &Observation) -> bool {
        let Observation::Content { file, finished, .. } = observed else { return false };
        let known = self.candidate.as_ref().and_then(|candidate| candidate.observed.file());
        *finished && self.active.map(|active| active.1) != Some(*file) && known != Some(*file)
    }

    /// Notes that the settled content is good, and active now.
    pub(super) fn accept(&mut self, hash: Hash, file: FileId) {
        *self = Self { active: Some((hash, file)), ..Self::default() };
    }

    /// Notes that the settled content is not good.
    pub(super) fn reject(&mut self) {
        self.changing_since = None;
        if let Some(candidate) = &mut self.candidate {
            candidate.rejected = true;
        }
    }
}

#[cfg(test)]
mod tests;
