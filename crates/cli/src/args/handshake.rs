//! `avouch handshake`.

use super::global::GlobalArgs;
use crate::commands::handshake;
use crate::error::CliError;
use avouch_spiffe::{HostPort, SpiffeId};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) const HELP: &str = "\
Examples:
  avouch handshake localhost:7001
  avouch handshake localhost:7001 --identity state/orders --expect spiffe://market.example/ledger
  avouch handshake localhost:7001 --bundle bundle.pem

Without --identity, --bundle and an issuer the server is not verified. Makes no call. Exit status 1 if the connection breaks.";

#[derive(Debug, Args)]
pub(super) struct HandshakeArgs {
    /// As in localhost:7001 or `[::1]:7001`
    #[arg(value_name = "HOST:PORT")]
    target: HostPort,
    /// The state_dir of a workload, or a directory with svid.pem, svid_key.pem and svid_bundle.pem: who to be
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// Who the server must be [default: anybody of the bundle's trust domain]
    #[arg(long, value_name = "SPIFFE_ID")]
    expect: Option<SpiffeId>,
    /// The roots to judge the server by, in PEM or as a SPIFFE bundle [default: those beside the
    /// identity; without one, those of the issuer whose socket this user may use]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

impl HandshakeArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let options = handshake::Options {
            target: self.target.clone(),
            identity: self.identity.as_deref(),
            expect: self.expect.clone(),
            bundle: self.bundle.as_deref(),
        };
        handshake::run(&options, &global.admin(), global.output()).await
    }
}
