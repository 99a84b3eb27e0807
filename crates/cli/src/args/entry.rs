//! `avouch entry`.

use super::global::GlobalArgs;
use crate::commands::entry::{self, NewEntry};
use crate::error::CliError;
use avouch_spiffe::SpiffeId;
use avouch_time::ConfigDuration;
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum EntryCommand {
    /// Register an identity
    #[command(after_help = "\
Examples:
  avouch entry add spiffe://market.example/orders
  avouch entry add spiffe://market.example/orders --ttl 20s --recovery-window 1h
  avouch entry add spiffe://market.example/signer --on-fork revoke --recovery-limit 3
  avouch entry add spiffe://market.example/web --dns web.market.example --dns localhost")]
    Add(EntryAdd),
    /// List the registered identities
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  avouch entry list
  avouch entry list --json"
    )]
    List,
    /// Show one registered identity
    #[command(after_help = "\
Examples:
  avouch entry show spiffe://market.example/orders")]
    Show(OneEntry),
    /// Remove an identity: nothing more is issued to it, its tokens end, its live certificates run out
    #[command(after_help = "\
Examples:
  avouch entry rm spiffe://market.example/orders")]
    Rm(OneEntry),
}

#[derive(Debug, Args)]
pub(super) struct EntryAdd {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    spiffe_id: SpiffeId,
    /// Life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME")]
    ttl: Option<ConfigDuration>,
    /// A DNS name its certificates carry for clients that want one (repeatable); it authorizes nothing
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// How long after expiry it may still recover, as in 24h [default: the issuer's]
    #[arg(long, value_name = "TIME")]
    recovery_window: Option<ConfigDuration>,
    /// What happens when one of its certificates is renewed or recovered with two different keys, so that its key was
    /// copied: it is reported, or revoked as well with all that came of it
    #[arg(long, value_enum, value_name = "WHAT", default_value = "alert")]
    on_fork: OnFork,
    /// How often it may recover until it is registered again [default: as often as it needs to]
    #[arg(long, value_name = "N")]
    recovery_limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnFork {
    Alert,
    Revoke,
}

#[derive(Debug, Args)]
pub(super) struct OneEntry {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    spiffe_id: SpiffeId,
}

impl EntryCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (admin, output) = (global.admin(), global.output());
        match self {
            Self::Add(args) => entry::add(&admin, &args.entry(), output).await,
            Self::List => entry::list(&admin, output).await,
            Self::Show(args) => entry::show(&admin, &args.spiffe_id, output).await,
            Self::Rm(args) => entry::remove(&admin, &args.spiffe_id).await,
        }
    }
}

impl EntryAdd {
    fn entry(&self) -> NewEntry {
        NewEntry {
            spiffe_id: self.spiffe_id.clone(),
            svid_ttl: self.ttl.map(Duration::from),
            dns_names: self.dns_names.clone(),
            recovery_window: self.recovery_window.map(Duration::from),
            revoke_on_fork: self.on_fork == OnFork::Revoke,
            recovery_limit: self.recovery_limit,
        }
    }
}
