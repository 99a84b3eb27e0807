//! Where what the commands that read show comes from: everybody, asked now, or a dump.

use super::global::GlobalArgs;
use crate::sources::Sources;
use avouch_fleet::WorkloadTarget;
use avouch_spiffe::SpiffeId;
use clap::Args;
use std::path::PathBuf;

/// The options that all commands that read have in common. Flattened into each of them.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Read what `avouch dump` wrote, and ask nobody
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask", conflicts_with_all = ["operator", "workloads"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    asker: AskerArgs,
}

/// Which workloads are asked, and with which identity.
#[derive(Debug, Args)]
pub(super) struct AskerArgs {
    /// Ask with the identity in DIR: svid.pem, key.pem and bundle.pem or bundle.json, or tls.crt, tls.key and ca.crt
    /// [default: enroll, for this run and in memory only, at the issuer whose socket this user may use]
    #[arg(long, value_name = "DIR", env = "AVOUCH_IDENTITY", help_heading = "Whom to ask")]
    identity: Option<PathBuf>,
    /// Ask as SPIFFE_ID, which must be registered; with --identity: the one that must be in DIR [default:
    /// spiffe://TRUST-DOMAIN/operator]
    #[arg(long = "as", value_name = "SPIFFE_ID", help_heading = "Whom to ask")]
    operator: Option<SpiffeId>,
    /// Also ask a workload that the issuer does not list (repeatable)
    #[arg(long = "workload", value_name = "HOST:PORT=SPIFFE_ID", help_heading = "Whom to ask")]
    workloads: Vec<WorkloadTarget>,
}

impl SourceArgs {
    pub(super) fn sources(&self, global: &GlobalArgs) -> Sources {
        Sources { from: self.from.clone(), ..self.asker.sources(global) }
    }
}

impl AskerArgs {
    pub(super) fn sources(&self, global: &GlobalArgs) -> Sources {
        Sources {
            from: None,
            admin: global.admin(),
            identity: self.identity.clone(),
            operator: self.operator.clone(),
            workloads: self.workloads.clone(),
        }
    }
}
