//! `avouch entry`.

use avouch_spiffe::SpiffeId;
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum EntryCommand {
    /// Register an identity
    #[command(after_help = "\
Examples:
  avouch entry add spiffe://market.example/orders
  avouch entry add spiffe://market.example/orders --ttl 20s --recovery-window 1h
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
pub(crate) struct EntryAdd {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
    /// Life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) ttl: Option<Duration>,
    /// A DNS name its certificates carry for clients that want one (repeatable); it authorizes nothing
    #[arg(long = "dns", value_name = "NAME")]
    pub(crate) dns_names: Vec<String>,
    /// How long after expiry it may still recover, as in 24h [default: the issuer's]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) recovery_window: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct OneEntry {
    /// As in spiffe://market.example/orders
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
}
