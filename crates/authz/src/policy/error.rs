//! Problems of a policy file, all at once, each with its location and, where a known word is near, a suggestion.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use avouch_spiffe::Reason;
use avouch_time::DurationError;

use crate::condition::PinError;
use crate::pattern::PatternError;

/// A location in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file.
    pub source: Arc<str>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: Option<usize>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// The reason why a policy does not load or is not activated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    // The cause is part of the text and not a source of the error: a log line and the answer to a reload show the text
    // alone.
    #[error("policy {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The content keeps changing.
    #[error(
        "policy {} keeps changing; it comes into force when it has been the same for 2 s, or when a finished file is \
         renamed to its name",
        path.display()
    )]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// The content is wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<PolicyProblem>),
    /// There is nothing to load again: the policy was given, not read.
    #[error("this policy does not come from a file")]
    NoFile,
}

impl PolicyError {
    /// All problems in the order of the file; fine if there are none.
    pub(crate) fn unless_empty(mut problems: Vec<PolicyProblem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| (problem.location.line, problem.location.column));
        Err(Self::Invalid(problems))
    }

    /// The file that the error is about, as it was named.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, .. } | Self::Unsettled { path } => Some(path.display().to_string()),
            Self::Invalid(problems) => problems.first().map(|problem| problem.location.source.to_string()),
            Self::NoFile => None,
        }
    }

    /// The problems of the content.
    #[must_use]
    pub fn problems(&self) -> &[PolicyProblem] {
        match self {
            Self::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

/// `; did you mean "…"?`, or nothing.
fn question(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}

fn list(problems: &[PolicyProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The problem's location.
    pub location: SourceLocation,
    /// What is wrong there.
    pub fault: PolicyFault,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.fault)
    }
}

/// A fault at one location of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that a policy does not have.
    #[error("unknown key {key:?}{}", question(*nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type.
    #[error("{key} must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type that belongs there.
        expected: &'static str,
    },
    /// A role that no RPC asks for.
    #[error("no RPC asks for the role {role:?}{}", question(*nearest))]
    UnknownRole {
        /// The role.
        role: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// A caller that is not a valid pattern.
    #[error("{text:?} is not a caller: {error}")]
    Caller {
        /// The text as written.
        text: String,
        /// The reason.
        error: PatternError,
    },
    /// A caller twice in one role.
    #[error("{0:?} is listed twice in this role")]
    CallerTwice(String),
    /// A deny rule without a caller.
    #[error("a deny rule must say which caller it denies: caller = \"spiffe://…\"")]
    NoCaller,
    /// A deny rule with an empty list of methods: all or none?
    #[error("methods is empty; leave it out to deny all methods, or name some")]
    NoMethods,
    /// A method that the contract does not have.
    #[error("the contract has no method {method:?}{}", question(nearest.as_deref()))]
    UnknownMethod {
        /// The text as written.
        method: String,
        /// The nearest known word.
        nearest: Option<String>,
    },
    /// A method twice in one rule.
    #[error("{0:?} is listed twice in this rule")]
    MethodTwice(String),
    /// A file larger than a policy file may be.
    #[error("it has {got} bytes; a policy file has at most {allowed}")]
    TooLarge {
        /// Its size in bytes.
        got: usize,
        /// The largest size.
        allowed: usize,
    },
    /// A file that is not UTF-8.
    #[error("it is {}", if *utf16 { "UTF-16 text; save it as UTF-8" } else { "not UTF-8 text" })]
    NotUtf8 {
        /// Whether it begins as UTF-16 does.
        utf16: bool,
    },
    /// A file that binds, denies, audits and tests nothing. It is more likely one that is not written yet than the wish to
    /// deny everything.
    #[error("no policy: {0}; a policy that is to give nobody a role says `debug = []` under [roles]")]
    NoPolicy(&'static str),
    /// A mode that does not exist.
    #[error("mode is {mode:?}; it is \"enforce\" or \"audit\"{}", question(*nearest))]
    Mode {
        /// The text as written.
        mode: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// An audit rule that names neither methods nor a caller.
    #[error(
        "an audit rule must say which methods or which caller it is about; for everything write mode = \"audit\""
    )]
    AuditWithoutAnything,
    /// A condition that cannot be used.
    #[error("{0}")]
    Condition(ConditionFault),
    /// A test that cannot be run.
    #[error("{0}")]
    Test(TestFault),
    /// A test that does not hold.
    #[error("this test fails: {caller} calls {method}: expected {expected}, but it is {got}")]
    TestFailed {
        /// The test's caller.
        caller: String,
        /// The method.
        method: &'static str,
        /// The decision that the test expects.
        expected: String,
        /// The policy's decision, and the line that makes it.
        got: String,
    },
}

/// A fault of a condition on a caller's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionFault {
    /// A caller written as a table, without the caller.
    #[error("this table must say which caller it means: caller = \"spiffe://…\"")]
    NoCaller,
    /// An invalid duration.
    #[error("{key}: {error}")]
    Duration {
        /// The condition.
        key: &'static str,
        /// The reason.
        error: DurationError,
    },
    /// A pin that no certificate can have.
    #[error("{key}: {text:?} pins nothing: {error}")]
    Pin {
        /// The condition.
        key: &'static str,
        /// The text as written.
        text: String,
        /// The reason.
        error: PinError,
    },
    /// An empty list of pins.
    #[error("{0} is empty, so no certificate could ever meet it; leave it out or pin something")]
    NoPins(&'static str),
    /// A pin twice.
    #[error("{key} lists {text:?} twice")]
    PinTwice {
        /// The condition.
        key: &'static str,
        /// The text as written.
        text: String,
    },
    /// A serial number without the one authority that gave it.
    #[error("a serial number is one only of one authority's certificates: name it with issuer_key_id, once")]
    SerialWithoutIssuer,
    /// A condition that a deny rule must not have.
    #[error("{0}")]
    NotInDeny(&'static str),
    /// A condition that only a deny rule may have.
    #[error("certificate_older_than belongs in a deny rule; a role says max_certificate_age")]
    NotInRole,
}

/// A fault of a `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TestFault {
    /// A key is missing.
    #[error("a test must have {0}")]
    Missing(&'static str),
    /// A caller that is neither a SPIFFE ID nor one of the two words.
    #[error("{text:?} is no caller of a test: a SPIFFE ID, \"anonymous\" or \"local-admin\"{}", question(*nearest))]
    Caller {
        /// The text as written.
        text: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// A caller pattern instead of a SPIFFE ID.
    #[error("{0:?} is many callers; a test calls as one")]
    Pattern(String),
    /// An expectation that is neither allow nor deny.
    #[error("expect is {text:?}; it is \"allow\" or \"deny\"{}", question(*nearest))]
    Expect {
        /// The text as written.
        text: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// A reason that no decision can have.
    #[error("no decision has the reason {text:?}{}", question(*nearest))]
    Reason {
        /// The text as written.
        text: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// A reason for an allowed call.
    #[error("what is allowed has no reason; {0} goes with expect = \"deny\"")]
    ReasonOfAllowed(Reason),
    /// Facts about the certificate of a caller who has none.
    #[error("{0} has no certificate; only a SPIFFE ID has one")]
    NoCertificate(&'static str),
}
