//! One unit of the files: content that comes into use together, and the fault that keeps it out.
//!
//! A file that is written in place is incomplete for a while, and a truncated bundle can look like a complete one. So
//! content is judged only once two looks in a row have found the same.

use std::path::PathBuf;
use std::time::SystemTime;

use avouch_files::Content;
use avouch_spiffe::x509::sha256;
use avouch_text::with_causes;

use super::super::error::IdentityError;
use super::super::problem::SourceProblem;

/// The digest by which two looks are compared, so that no second copy of a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print([u8; 32]);

impl Print {
    /// The digest of what was read of each file of a unit, and of what else counts.
    pub(super) fn of(read: &[&std::io::Result<Content>], extra: &str) -> Self {
        let mut digests = extra.as_bytes().to_vec();
        for file in read {
            match file {
                Ok(content) => digests.extend(sha256(&content.bytes)),
                Err(error) => digests.extend(sha256(format!("{:?} {error}", error.kind()).as_bytes())),
            }
        }
        Self(sha256(&digests))
    }
}

/// The content that the latest look found.
#[derive(Debug)]
enum Found<T> {
    /// The content that is in use.
    InUse,
    /// Content other than at the look before it.
    Unsettled,
    /// Content that is good by itself.
    Good(T),
    /// Content that cannot be used.
    Bad(Fault),
}

/// The fault that keeps a unit's content out of use.
#[derive(Debug)]
pub(super) struct Fault {
    path: PathBuf,
    detail: String,
    reason: Option<avouch_spiffe::Reason>,
}

impl Fault {
    /// The fault of a unit at `path`, where the error names no other file.
    pub(super) fn of(error: &IdentityError, path: PathBuf) -> Self {
        let named = match error {
            IdentityError::File { path, .. }
            | IdentityError::Content { path, .. }
            | IdentityError::KeyOpen { path, .. } => path.clone(),
            _ => path,
        };
        let reason = match error {
            IdentityError::NotVouchedFor { rejection, .. }
            | IdentityError::OutsideDates { rejection, .. }
            | IdentityError::DoesNotVouch { rejection, .. } => Some(rejection.reason()),
            _ => None,
        };
        Self { path: named, detail: with_causes(error).to_string(), reason }
    }
}

/// One unit of the files.
#[derive(Debug)]
pub(super) struct Unit<T> {
    name: String,
    path: PathBuf,
    seen: Option<Print>,
    in_use: Option<Print>,
    found: Found<T>,
    problem: Option<(Option<Print>, SourceProblem)>,
}

impl<T> Unit<T> {
    pub(super) fn new(name: impl Into<String>, path: PathBuf) -> Self {
        let (seen, in_use, problem) = (None, None, None);
        Self { name: name.into(), path, seen, in_use, found: Found::Unsettled, problem }
    }

    /// Takes what the files hold at the first look, which nothing can be compared with.
    pub(super) fn begin(&mut self, print: Print, found: Result<T, IdentityError>) {
        self.seen = Some(print);
        self.found = self.judged(found);
    }

    /// Notes a look; `make` judges what the files hold by themselves, once.
    pub(super) fn look(&mut self, print: Print, make: impl FnOnce() -> Result<T, IdentityError>) {
        let again = self.seen.replace(print) == Some(print);
        if self.in_use == Some(print) {
            self.found = Found::InUse;
        } else if !again {
            self.found = Found::Unsettled;
        } else if matches!(self.found, Found::Unsettled | Found::InUse) {
            self.found = self.judged(make());
        }
    }

    fn judged(&self, found: Result<T, IdentityError>) -> Found<T> {
        match found {
            Ok(good) => Found::Good(good),
            Err(error) => Found::Bad(Fault::of(&error, self.path.clone())),
        }
    }

    /// The content that is good by itself and not in use.
    pub(super) fn candidate(&self) -> Option<&T> {
        match &self.found {
            Found::Good(good) => Some(good),
            _ => None,
        }
    }

    /// Takes the candidate into use.
    pub(super) fn take(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.found, Found::InUse) {
            Found::Good(good) => {
                self.in_use = self.seen;
                Some(good)
            }
            other => {
                self.found = other;
                None
            }
        }
    }

    pub(super) fn problem(&self) -> Option<&SourceProblem> {
        self.problem.as_ref().map(|(_, problem)| problem)
    }

    /// Updates the unit's reported problem after a look: `fault` is why its candidate, if there is one, did not come
    /// into use. Warns once, and again when the fault or the content is another. True if there is news.
    pub(super) fn settle(&mut self, fault: Option<Fault>, now: SystemTime) -> bool {
        let fault = match (fault, &mut self.found) {
            (Some(fault), _) => fault,
            (None, Found::Bad(fault)) => {
                Fault { detail: fault.detail.clone(), path: fault.path.clone(), ..*fault }
            }
            // Not settled yet: the problem that was reported before stays.
            (None, Found::Unsettled) => return false,
            (None, _) => return self.cleared(),
        };
        let since = self.problem().map_or(now, |problem| problem.since);
        if let Some((seen, problem)) = &self.problem
            && *seen == self.seen
            && problem.reason == fault.reason
            // A detail with a reason may contain how long ago something was, and so differ at every look.
            && (fault.reason.is_some() || problem.detail == fault.detail)
        {
            return false;
        }
        tracing::warn!(
            part = self.name,
            path = %fault.path.display(),
            reason = fault.detail,
            "what this file of the identity holds is not used; the last good one stays in use, if there was one"
        );
        let Fault { path, detail, reason } = fault;
        let problem = SourceProblem { part: self.name.clone(), path, detail, reason, since };
        self.problem = Some((self.seen, problem));
        true
    }

    fn cleared(&mut self) -> bool {
        let Some((_, problem)) = self.problem.take() else { return false };
        tracing::info!(part = problem.part, path = %problem.path.display(), "what the file holds is in use again");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn print(content: &str) -> Print {
        Print::of(&[], content)
    }

    fn bad(why: &'static str) -> Result<u8, IdentityError> {
        Err(super::super::super::pem::content(std::path::Path::new("f"), "a test", why.to_owned()))
    }

    fn in_use(content: &str) -> Unit<u8> {
        let mut unit = Unit::new("bundle", PathBuf::from("f"));
        unit.begin(print(content), Ok(1));
        assert_eq!(unit.take(), Some(1));
        unit
    }

    #[test]
    fn a_change_is_judged_only_when_two_looks_in_a_row_found_it_and_then_once() {
        let mut unit = in_use("a");
        let unread = || -> Result<u8, IdentityError> { panic!("it is judged too early, or again") };
        for content in ["b", "c", "a", "b"] {
            unit.look(print(content), unread);
            assert!(unit.candidate().is_none() && !unit.settle(None, NOW), "{content}");
        }
        unit.look(print("b"), || Ok(2));
        unit.look(print("b"), unread);
        assert_eq!(unit.take(), Some(2));
        unit.look(print("b"), unread);
        assert_eq!((unit.take(), unit.candidate()), (None, None), "it is in use already");
    }

    #[test]
    fn what_is_wrong_is_said_once_and_again_when_it_or_the_content_is_another() {
        let mut unit = in_use("a");
        let look = |unit: &mut Unit<u8>, content, why| {
            let mut news = 0;
            for _ in 0..4 {
                unit.look(print(content), || bad(why));
                news += usize::from(unit.settle(None, NOW));
            }
            news
        };
        assert_eq!(look(&mut unit, "b", "one"), 1);
        assert_eq!(look(&mut unit, "c", "one"), 1, "another content");
        assert_eq!(look(&mut unit, "d", "two"), 1);
        assert!(unit.problem().is_some_and(|problem| problem.detail.contains("two")));
        assert_eq!(look(&mut unit, "a", "never asked"), 1, "that it is good again");
        assert!(unit.problem().is_none());
    }

    #[test]
    fn a_reason_that_tells_how_long_ago_something_was_is_not_said_at_every_look() {
        let mut unit = in_use("a");
        let expired = |seconds: u64| {
            let detail = format!("it expired {seconds} s ago");
            let reason = Some(avouch_spiffe::Reason::CertExpired);
            Some(Fault { path: PathBuf::from("f"), detail, reason })
        };
        unit.look(print("b"), || Ok(2));
        unit.look(print("b"), || Ok(2));
        assert!(unit.settle(expired(1), NOW));
        assert!(!unit.settle(expired(2), NOW));
        assert_eq!(unit.candidate(), Some(&2), "it stays a candidate");
    }
}
