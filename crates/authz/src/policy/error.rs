//! What is wrong with a policy file, all of it at once, each with its place and, where one is near, what was meant.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    #[error("policy {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<PolicyProblem>),
    /// There is nothing to load again: the policy was given, not read.
    #[error("this policy does not come from a file")]
    NoFile,
}

impl PolicyError {
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
    /// A method twice in one deny rule.
    #[error("{0:?} is listed twice in this rule")]
    MethodTwice(String),
}
