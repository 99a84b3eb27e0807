//! `avouch policy`.

use super::Sources;
use avouch_spiffe::SpiffeId;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy file: all problems with their places, its tests, and lines without any effect
    #[command(after_help = "\
Examples:
  avouch policy check policy.toml --proto proto
  avouch policy check policy.toml --descriptors descriptor.bin
  avouch policy check policy.toml --service orders

Exit status: 0 it would load, 1 it would not, 2 wrong usage.")]
    Check(PolicyFile),
    /// Run the [[test]] blocks of a policy file
    #[command(after_help = "\
Examples:
  avouch policy test policy.toml --proto proto
  avouch policy test policy.toml --proto proto --json

Exit status: 0 all hold, 1 some do not or the file is not good, 2 wrong usage.")]
    Test(PolicyFile),
    /// Show who may call what under a policy file: every caller it names, and everybody else
    #[command(after_help = "\
Examples:
  avouch policy matrix policy.toml --proto proto
  avouch policy matrix policy.toml --service orders --json")]
    Matrix(PolicyFile),
    /// Show every call that a second policy newly allows or newly refuses
    #[command(after_help = "\
Examples:
  avouch policy diff policy.toml new.toml --proto proto
  avouch policy diff policy.toml new.toml --service orders --exit-code

Evaluates both for everybody whom they can tell apart, so nothing is missed.

Exit status: 0 done, 1 failed, or with --exit-code also if something changes, 2 wrong usage.")]
    Diff(PolicyDiff),
    /// Whether a caller may call a method, and if not, why not
    #[command(
        name = "can-i",
        after_help = "\
Examples:
  avouch policy can-i spiffe://market.example/payments /market.ledger.v1.Ledger/Post
  avouch policy can-i spiffe://market.example/payments /market.ledger.v1.Ledger/Post --from dump.tgz
  avouch policy can-i anonymous /market.ledger.v1.Ledger/Post --policy policy.toml --proto proto

Without --policy it asks the policies that are in force, at everybody who serves the method.

Exit status: 0 yes, 1 no or nobody knows, 2 wrong usage."
    )]
    CanI(PolicyCanI),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFile {
    /// The policy
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) api: Api,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyDiff {
    /// The policy before
    #[arg(value_name = "A")]
    pub(crate) before: PathBuf,
    /// The policy after
    #[arg(value_name = "B")]
    pub(crate) after: PathBuf,
    /// Exit with 1 if something changes
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyCanI {
    /// A SPIFFE ID, anonymous or local-admin
    #[arg(value_name = "CALLER")]
    pub(crate) caller: Who,
    /// As in /market.ledger.v1.Ledger/Post
    #[arg(value_name = "METHOD")]
    pub(crate) method: String,
    /// How old the caller's certificate is, as in 10m, where the policy asks for it
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) certificate_age: Option<Duration>,
    /// Ask this policy file instead of the policies in force
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Where the methods and their rules come from.
#[derive(Debug, Default, Args)]
pub(crate) struct Api {
    /// Methods and rules of all protos below DIR (repeatable)
    #[arg(long, value_name = "DIR", help_heading = "Methods and their rules")]
    pub(crate) proto: Vec<PathBuf>,
    /// Where imports of the protos are found (repeatable) [default: the DIR itself]
    #[arg(long, value_name = "DIR", requires = "proto", help_heading = "Methods and their rules")]
    pub(crate) include: Vec<PathBuf>,
    /// Rules of protos that cannot be annotated, as for avouch-build
    #[arg(long, value_name = "FILE", requires = "proto", help_heading = "Methods and their rules")]
    pub(crate) rules: Option<PathBuf>,
    /// Methods and rules in an encoded FileDescriptorSet, such as a build's descriptor.bin (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Methods and their rules")]
    pub(crate) descriptors: Vec<PathBuf>,
    /// Methods and rules of a running service, by its name or SPIFFE ID
    #[arg(long, value_name = "NAME|SPIFFE_ID", conflicts_with_all = ["proto", "descriptors"], help_heading = "Methods and their rules")]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) sources: Sources,
}

/// Somebody who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Peer(SpiffeId),
    Anonymous,
    LocalAdmin,
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "anonymous" => Ok(Self::Anonymous),
            "local-admin" => Ok(Self::LocalAdmin),
            _ => {
                let id: SpiffeId = text.parse().map_err(|error| {
                    format!("{text:?} is no caller: write a SPIFFE ID, anonymous or local-admin ({error})")
                })?;
                if id.is_root() {
                    Err(format!("{text:?} is a trust domain and nobody in it"))
                } else {
                    Ok(Self::Peer(id))
                }
            }
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(id) => write!(f, "{id}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::LocalAdmin => f.write_str("local-admin"),
        }
    }
}
