//! What is wrong with a policy file, all of it at once, each with its place and, where one is near, what was meant.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use avouch_spiffe::Reason;
use avouch_spiffe::span::SpanError;

use crate::condition::PinError;
use crate::pattern::PatternError;
use crate::suggest::question;

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<str>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// Why a policy is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    // The cause is part of the text and not a source beside it: whoever shows no more than this error, and a reload has no
    // more room, shows why.
    #[error("policy {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The content is another one at every look.
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
    /// The file that it is about, as it was named.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, .. } | Self::Unsettled { path } => Some(path.display().to_string()),
            Self::Invalid(problems) => problems.first().map(|problem| problem.place.source.to_string()),
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

fn list(problems: &[PolicyProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: PolicyFault,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// What is wrong at a place of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that a policy does not have.
    #[error("unknown key {key:?}{}", question(*nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type.
    #[error("{key} must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A role that no RPC asks for.
    #[error("no RPC asks for the role {role:?}{}", question(*nearest))]
    UnknownRole {
        /// The role.
        role: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A caller that is no pattern.
    #[error("{text:?} is not a caller: {error}")]
    Caller {
        /// As written.
        text: String,
        /// Why.
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
        /// As written.
        method: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A method twice in one rule.
    #[error("{0:?} is listed twice in this rule")]
    MethodTwice(String),
    /// More than a policy file may have.
    #[error("it has {got} bytes; a policy file has at most {allowed}")]
    TooLarge {
        /// How many it has.
        got: usize,
        /// How many it may have.
        allowed: usize,
    },
    /// Not the encoding that TOML has.
    #[error("it is {}", if *utf16 { "UTF-16 text; save it as UTF-8" } else { "not UTF-8 text" })]
    NotUtf8 {
        /// Whether it begins as UTF-16 does.
        utf16: bool,
    },
    /// A file that binds, denies, audits and tests nothing: rather one that is not written yet than the wish to lock
    /// everybody out.
    #[error("no policy: {0}; a policy that is to give nobody a role says `debug = []` under [roles]")]
    NoPolicy(&'static str),
    /// A mode that does not exist.
    #[error("mode is {mode:?}; it is \"enforce\" or \"audit\"{}", question(*nearest))]
    Mode {
        /// As written.
        mode: String,
        /// What was probably meant.
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
        /// Who calls.
        caller: String,
        /// What is called.
        method: &'static str,
        /// What the test says.
        expected: String,
        /// What the policy decides, and by which of its lines.
        got: String,
    },
}

/// What is wrong with a condition on a caller's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionFault {
    /// A caller written as a table, without the caller.
    #[error("this table must say which caller it means: caller = \"spiffe://…\"")]
    NoCaller,
    /// A span of time that cannot be read.
    #[error("{key}: {error}")]
    Span {
        /// The condition.
        key: &'static str,
        /// Why.
        error: SpanError,
    },
    /// A pin that can be nobody's.
    #[error("{key}: {text:?} pins nothing: {error}")]
    Pin {
        /// The condition.
        key: &'static str,
        /// As written.
        text: String,
        /// Why.
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
        /// As written.
        text: String,
    },
    /// A serial number that nobody's certificate is named by.
    #[error("a serial number is one only of one authority's certificates: name it with issuer_key_id, once")]
    SerialWithoutIssuer,
    /// A condition that means nothing good in a deny rule.
    #[error("{0}")]
    NotInDeny(&'static str),
    /// A condition that only a deny rule has.
    #[error("certificate_older_than belongs into a deny rule; a role says max_certificate_age")]
    NotInRole,
}

/// What is wrong with a `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TestFault {
    /// A key is missing.
    #[error("a test must have {0}")]
    Missing(&'static str),
    /// Neither an ID nor one of the two words.
    #[error("{text:?} is no caller of a test: a SPIFFE ID, \"anonymous\" or \"local-admin\"{}", question(*nearest))]
    Caller {
        /// As written.
        text: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A pattern instead of an ID.
    #[error("{0:?} is many callers; a test calls as one")]
    Pattern(String),
    /// Neither allow nor deny.
    #[error("expect is {text:?}; it is \"allow\" or \"deny\"{}", question(*nearest))]
    Expect {
        /// As written.
        text: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A reason that no decision has.
    #[error("no decision has the reason {text:?}{}", question(*nearest))]
    Reason {
        /// As written.
        text: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// An allowed call with a reason.
    #[error("what is allowed has no reason; {0} goes with expect = \"deny\"")]
    ReasonOfAllowed(Reason),
    /// A certificate of somebody who has none.
    #[error("{0} has no certificate; only a SPIFFE ID has one")]
    NoCertificate(&'static str),
}
