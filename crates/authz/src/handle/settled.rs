//! When the content of a policy file may come into force.
//!
//! A file that is written in place is seen half written, by everybody who looks at the wrong moment; half a policy may
//! let in whom its other half denies. So content counts when it has been the same for [`STABLE`]. A file that was renamed
//! to its name was finished before it had that name, so there one further equal look is enough.
//!
//! What tells a renamed file: it is not the file that the policy in force was read from (device and inode), the last
//! thing that happened to it was no write (its change time is later than its modification time; a write sets both alike,
//! a rename the former), and it was not seen with other content under this name. A file system that does not tell, and
//! a rename within the clock tick of the last write, cost the 2 s; nothing here ever makes it sooner. Content is compared,
//! never dates.
//!
//! Nothing in this module reads a clock or a file.

use std::time::Duration;

use tokio::time::Instant;

/// How long content must have been the same. A writer that pauses for longer has to rename.
pub(super) const STABLE: Duration = Duration::from_secs(2);

/// What tells a file from another one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The SHA-256 of a file's content.
pub(super) type Hash = [u8; 32];

/// What one look found.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// Content.
    Content {
        /// Its hash.
        hash: Hash,
        /// The file it was read from.
        file: FileId,
        /// Whether the last thing that happened to the file was no write.
        finished: bool,
        /// For how long nothing has happened to the file, as far as that is known.
        quiet: Duration,
    },
    /// Nothing that could be read, and why.
    Nothing(String),
}

impl Sight {
    fn file(&self) -> Option<FileId> {
        match self {
            Self::Content { file, .. } => Some(*file),
            Self::Nothing(_) => None,
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Content { hash, .. }, Self::Content { hash: other, .. }) => hash == other,
            (Self::Nothing(why), Self::Nothing(other)) => why == other,
            _ => false,
        }
    }
}

/// What is to be done about what a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: it is what is in force.
    InForce,
    /// Nothing yet: look again.
    Moving {
        /// When content was first seen that is not in force and has not settled since.
        since: Instant,
    },
    /// It is to be judged now.
    Settled,
    /// Nothing: it has been judged, and was not good.
    Known,
}

/// What has been seen of a policy file.
#[derive(Debug, Default)]
pub(super) struct Settling {
    in_force: Option<(Hash, FileId)>,
    candidate: Option<Candidate>,
    moving_since: Option<Instant>,
}

#[derive(Debug)]
struct Candidate {
    sight: Sight,
    since: Instant,
    /// Renamed to its name: it may be judged at the next equal look.
    renamed: bool,
    judged: bool,
}

impl Settling {
    /// Takes in what a look found that began and ended at these times. `asked`: somebody has said that the file is to be
    /// read now, who need not wait for what the file itself says has been quiet long enough.
    pub(super) fn look(
        &mut self,
        sight: &Sight,
        (began, ended): (Instant, Instant),
        asked: bool,
    ) -> Standing {
        if let (Some(in_force), Sight::Content { hash, file, .. }) = (&mut self.in_force, sight)
            && in_force.0 == *hash
        {
            // From now on it is this file that a writer in place would change.
            in_force.1 = *file;
            self.candidate = None;
            self.moving_since = None;
            return Standing::InForce;
        }
        // A read can hang. Content was there at some time of it, so it counts as old from its end on, up to the begin of
        // the next one.
        let since = match sight {
            Sight::Content { quiet, .. } if asked => ended.checked_sub((*quiet).min(STABLE)).unwrap_or(ended),
            _ => ended,
        };
        let renamed = self.is_renamed(sight);
        match &mut self.candidate {
            Some(known) if known.sight.says_the_same(sight) => {
                let same_file = known.sight.file() == sight.file();
                let settled =
                    known.renamed && same_file || began.saturating_duration_since(known.since) >= STABLE;
                if !same_file {
                    known.renamed = renamed;
                    known.sight = sight.clone();
                }
                known.since = known.since.min(since);
                match (known.judged, settled) {
                    (true, _) if !asked => Standing::Known,
                    (true, _) | (_, true) => Standing::Settled,
                    _ => Standing::Moving { since: *self.moving_since.get_or_insert(ended) },
                }
            }
            _ => {
                self.candidate = Some(Candidate { sight: sight.clone(), since, renamed, judged: false });
                Standing::Moving { since: *self.moving_since.get_or_insert(ended) }
            }
        }
    }

    fn is_renamed(&self, sight: &Sight) -> bool {
        let Sight::Content { file, finished, .. } = sight else { return false };
        let known = self.candidate.as_ref().and_then(|candidate| candidate.sight.file());
        *finished && self.in_force.map(|in_force| in_force.1) != Some(*file) && known != Some(*file)
    }

    /// What was to be judged is good, and in force now.
    pub(super) fn is_in_force(&mut self, hash: Hash, file: FileId) {
        *self = Self { in_force: Some((hash, file)), ..Self::default() };
    }

    /// What was to be judged is not good.
    pub(super) fn is_not_good(&mut self) {
        self.moving_since = None;
        if let Some(candidate) = &mut self.candidate {
            candidate.judged = true;
        }
    }
}

#[cfg(test)]
mod tests;
