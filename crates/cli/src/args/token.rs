//! `avouch token`.

use avouch_spiffe::SpiffeId;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
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
pub(crate) struct TokenCreate {
    /// The identity to join as; it must be registered, unless --register is given
    #[arg(value_name = "SPIFFE_ID")]
    pub(crate) spiffe_id: SpiffeId,
    /// How long the token may be used, as in 10m or 1h [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) ttl: Option<Duration>,
    /// Write the token into FILE, for its owner alone (mode 0600), rather than to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Register the identity first, unless it is registered
    #[arg(long)]
    pub(crate) register: bool,
    /// With --register: a DNS name its certificates carry (repeatable)
    #[arg(long = "dns", value_name = "NAME", requires = "register")]
    pub(crate) dns_names: Vec<String>,
    /// With --register: life of its certificates, as in 20s or 1h [default: the issuer's]
    #[arg(long, value_name = "TIME", requires = "register", value_parser = crate::timespan::parse)]
    pub(crate) svid_ttl: Option<Duration>,
    /// How long to wait for an issuer that does not answer yet, as in 30s [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse)]
    pub(crate) wait: Option<Duration>,
}
