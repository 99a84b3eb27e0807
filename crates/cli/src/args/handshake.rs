//! `avouch handshake`.

use crate::target::Target;
use avouch_spiffe::SpiffeId;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct HandshakeArgs {
    /// As in localhost:7001 or `[::1]:7001`
    #[arg(value_name = "HOST:PORT")]
    pub(crate) target: Target,
    /// The state_dir of a workload, or a directory with svid.pem, svid_key.pem and svid_bundle.pem: who to be
    #[arg(long, value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// Who the server must be [default: anybody of the bundle's trust domain]
    #[arg(long, value_name = "SPIFFE_ID")]
    pub(crate) expect: Option<SpiffeId>,
    /// The roots to judge the server by, in PEM or as a SPIFFE bundle [default: those beside the
    /// identity; without one, those of the issuer whose socket this user may use]
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}
