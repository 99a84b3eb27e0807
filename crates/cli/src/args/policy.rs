//! `avouch policy`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::policy::{self, ApiSource, NamedCaller, Question};
use crate::error::CliError;
use avouch_time::ConfigDuration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
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
pub(super) struct PolicyFile {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct PolicyDiff {
    /// The policy before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The policy after
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Exit with 1 if something changes
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct PolicyCanI {
    /// A SPIFFE ID, anonymous or local-admin
    #[arg(value_name = "CALLER")]
    caller: NamedCaller,
    /// As in /market.ledger.v1.Ledger/Post
    #[arg(value_name = "METHOD")]
    method: String,
    /// How old the caller's certificate is, as in 10m, where the policy asks for it
    #[arg(long, value_name = "TIME")]
    certificate_age: Option<ConfigDuration>,
    /// Ask this policy file instead of the policies in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Where the methods and their rules come from.
#[derive(Debug, Args)]
pub(super) struct ApiArgs {
    /// Methods and rules of all protos below DIR (repeatable)
    #[arg(long, value_name = "DIR", help_heading = "Methods and their rules")]
    proto: Vec<PathBuf>,
    /// Where imports of the protos are found (repeatable) [default: the DIR itself]
    #[arg(long, value_name = "DIR", requires = "proto", help_heading = "Methods and their rules")]
    include: Vec<PathBuf>,
    /// Rules of protos that cannot be annotated, as for avouch-build
    #[arg(long, value_name = "FILE", requires = "proto", help_heading = "Methods and their rules")]
    rules: Option<PathBuf>,
    /// Methods and rules in an encoded FileDescriptorSet, such as a build's descriptor.bin (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Methods and their rules")]
    descriptors: Vec<PathBuf>,
    /// Methods and rules of a running service, by its name or SPIFFE ID
    #[arg(long, value_name = "NAME|SPIFFE_ID", conflicts_with_all = ["proto", "descriptors"], help_heading = "Methods and their rules")]
    service: Option<String>,
    #[command(flatten)]
    sources: SourceArgs,
}

impl PolicyCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let output = global.output();
        match self {
            Self::Check(args) => policy::check(&args.file, &args.api.source(global), output).await,
            Self::Test(args) => policy::test(&args.file, &args.api.source(global), output).await,
            Self::Matrix(args) => policy::matrix(&args.file, &args.api.source(global), output).await,
            Self::Diff(args) => {
                let api = args.api.source(global);
                policy::diff(&args.before, &args.after, &api, args.exit_code, output).await
            }
            Self::CanI(args) => {
                let question = Question {
                    caller: args.caller.clone(),
                    method: args.method.clone(),
                    certificate_age: args.certificate_age.map(Duration::from),
                };
                policy::can_i(&question, args.policy.as_deref(), &args.api.source(global), output).await
            }
        }
    }
}

impl ApiArgs {
    fn source(&self, global: &GlobalArgs) -> ApiSource {
        ApiSource {
            protos: self.proto.clone(),
            includes: self.include.clone(),
            rules: self.rules.clone(),
            descriptors: self.descriptors.clone(),
            service: self.service.clone(),
            sources: self.sources.sources(global),
        }
    }
}
