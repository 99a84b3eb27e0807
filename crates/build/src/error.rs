//! Everything that stops a build, each with its location and what to do about it.
//!
//! Cargo prints a build script's error through `Debug`; so `Debug` here is the readable text, causes included.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::source_location::SourceLocation;

/// The reason why the protos were not compiled.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No file was given.
    #[error("no proto file was given to compile()")]
    NoProtos,
    /// Neither `out_dir` nor the environment says where to write.
    #[error("OUT_DIR is not set: call this from a build script, or set out_dir()")]
    NoOutDir,
    /// A proto does not parse, or an import is missing; the text names file, line and column.
    #[error("{0}")]
    Proto(String),
    /// The compiled descriptors cannot be read back.
    #[error("the compiled descriptors cannot be read back")]
    Descriptor(#[from] prost_reflect::DescriptorError),
    /// There are RPCs, none has a rule, and no file imports the option: it was never declared.
    #[error(
        "none of the {rpcs} RPCs declares who may call it (the first is {first});\n  \
         add `import \"avouch/authz/v1/authz.proto\";` to the proto and to each RPC \
         `option (avouch.authz.v1.rule) = {{ roles: [\"…\"] }};`,\n  \
         or give the rules of protos that cannot be annotated with rules_file()"
    )]
    NoRules {
        /// How many RPCs there are.
        rpcs: usize,
        /// One of them.
        first: String,
    },
    /// The option is imported, and yet no RPC has one in the descriptors.
    #[error(
        "avouch/authz/v1/authz.proto is imported, but none of the {rpcs} RPCs has a rule in the descriptors (the first \
         is {first});\n  either no RPC sets `option (avouch.authz.v1.rule) = {{ … }};`, or the options were lost: \
         they do not survive a passage through prost_types::FileDescriptorSet"
    )]
    RulesLost {
        /// How many RPCs there are.
        rpcs: usize,
        /// One of them.
        first: String,
    },
    /// Rules are missing or wrong; all of them at once.
    #[error("{}", list(.0))]
    Rules(Vec<RuleProblem>),
    /// The rules file cannot be read.
    #[error("rules file {} cannot be read", path.display())]
    RulesFileUnreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The rules file is not what it should be.
    #[error("{location}: {problem}")]
    RulesFileInvalid {
        /// File and line.
        location: SourceLocation,
        /// What is wrong there.
        problem: String,
    },
    /// The code generator failed.
    #[error("the Rust code could not be generated")]
    Generate(#[source] io::Error),
    /// A generated file could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cargo shows the error that main() returns in its `Debug` form; `{:#}` keeps the lines of errors that are lists.
        write!(f, "{:#}", avouch_text::with_causes(self))
    }
}

/// One RPC whose rule is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// File and, where known, line.
    pub location: SourceLocation,
    /// The service's full name, `market.orders.v1.Orders`.
    pub service: String,
    /// The RPC's name, `PlaceOrder`.
    pub rpc: String,
    /// What is wrong.
    pub fault: RuleFault,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: service {}, rpc {}: {}", self.location, self.service, self.rpc, self.fault)
    }
}

/// A fault of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// There is no rule.
    #[error(
        "no rule says who may call it; add inside its braces \
         `option (avouch.authz.v1.rule) = {{ roles: [\"…\"] }};` \
         (or any_identity, unauthenticated, local_admin: true)"
    )]
    Missing,
    /// A rule that sets nothing.
    #[error("its rule sets nothing; set exactly one of roles, any_identity, unauthenticated, local_admin")]
    Empty,
    /// A rule that sets more than one field.
    #[error("its rule sets {}; keep exactly one", .0.join(" and "))]
    Several(Vec<&'static str>),
    /// A role name is not `[a-z][a-z0-9-]*`, at most 63 characters, without a hyphen at the end or two in a row.
    #[error(
        "role {0:?} is not a role name; use lower-case words joined by single hyphens, at most 63 characters, such as \
         \"ledger-writer\""
    )]
    RoleName(String),
    /// A role is listed twice.
    #[error("role {0:?} is listed twice; remove one")]
    RoleTwice(String),
    /// The rules file names an RPC which has its rule in the proto.
    #[error("has a rule in its proto and another one at {0}; keep one of them")]
    Both(SourceLocation),
    /// The rules file names an RPC which does not exist.
    #[error("{location} names it, but no compiled proto has it{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// The line of the rules file.
        location: SourceLocation,
        /// The RPC that was probably meant.
        nearest: Option<String>,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "; remove the line".to_owned(), |nearest| format!("; did you mean {nearest:?}?"))
}

fn list(problems: &[RuleProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("{} of the RPCs' rules must be put right:\n{}", problems.len(), lines.join("\n"))
}
