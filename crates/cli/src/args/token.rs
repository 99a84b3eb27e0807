//! `avouch token`.

use super::global::GlobalArgs;
use crate::commands::entry::NewEntry;
use crate::commands::token::{self, NewToken};
use crate::error::CliError;
use avouch_spiffe::SpiffeId;
use avouch_time::ConfigDuration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a join token and print it, once: it is a secret, for one workload, for one use
    #[command(after_help = "\
Examples:
  avouch token create spiffe://market.example/orders > orders.token
  avouch token create spiffe://market.example/orders --ttl 1h
  avouch token create spiffe://market.example/orders --register --out /run/join/token --wait 30s
  avouch token create spiffe://market.example/web --register --dns web.market.example --svid-ttl 1h

--register, --out and --wait make it a step of a start: it can run before the issuer answers, it can
run again, and nobody reads the token on the way.")]
    Create(TokenCreate),
}

#[derive(Debug, Args)]
pub(super) struct TokenCreate {
    /// The identity to join as; it must be registered, unless --register is given
    #[arg(value_name = "SPIFFE_ID")]
    spiffe_id: SpiffeId,
    /// How long the token may be used, as in 10m or 1h [default: 10m]
    #[arg(long, value_name = "TIME")]
    ttl: Option<ConfigDuration>,
    /// Write the token into FILE, for its owner alone (mode 0600), rather than to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Register the identity first, unless it is registered
    #[arg(long)]
    register: bool,
    /// With --register: a DNS name its certificates carry (repeatable)
    #[arg(long = "dns", value_name = "NAME", requires = "register")]
    dns_names: Vec<String>,
    /// With --register: life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME", requires = "register")]
    svid_ttl: Option<ConfigDuration>,
    /// How long to wait for an issuer that does not answer yet, as in 30s [default: not at all]
    #[arg(long, value_name = "TIME")]
    wait: Option<ConfigDuration>,
}

impl TokenCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Self::Create(args) = self;
        token::create(&global.admin(), &args.token(), global.output()).await
    }
}

impl TokenCreate {
    fn token(&self) -> NewToken {
        let entry = NewEntry {
            spiffe_id: self.spiffe_id.clone(),
            svid_ttl: self.svid_ttl.map(Duration::from),
            dns_names: self.dns_names.clone(),
            recovery_window: None,
            revoke_on_fork: false,
            recovery_limit: None,
        };
        NewToken {
            spiffe_id: self.spiffe_id.clone(),
            ttl: self.ttl.map(Duration::from),
            out: self.out.clone(),
            register: self.register.then_some(entry),
            wait: self.wait.map(Duration::from).unwrap_or_default(),
        }
    }
}
