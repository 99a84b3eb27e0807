//! The source of data for all commands that read: the processes, asked now, or a dump.

use crate::error::CliError;
use crate::roots::IdentityFiles;
use avouch_fleet::{AdminSocket, AskAs, AskOptions, Fleet, Live, WorkloadTarget};
use avouch_identity::FilesConfig;
use avouch_spiffe::SpiffeId;
use std::path::PathBuf;
use std::time::Duration;

/// The options that all commands that read have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The dump to read, rather than to ask anybody.
    pub(crate) from: Option<PathBuf>,
    pub(crate) admin: AdminSocket,
    /// The directory with the identity to ask with.
    pub(crate) identity: Option<PathBuf>,
    /// The SPIFFE ID to ask as.
    pub(crate) operator: Option<SpiffeId>,
    /// Workloads to ask that the issuer does not list.
    pub(crate) workloads: Vec<WorkloadTarget>,
}

impl Sources {
    /// Reads the dump, or asks the issuer and each workload.
    ///
    /// Whoever does not answer, the issuer included, is no error but a `problem` in the fleet.
    ///
    /// # Errors
    /// When the dump cannot be read, or an identity was named with which nobody can be asked.
    pub(crate) async fn collect(&self) -> Result<Fleet, CliError> {
        match &self.from {
            Some(path) => Ok(avouch_fleet::read_dump(path)?),
            None => Ok(self.reach().await?.ask().await),
        }
    }

    /// Finds out whom to ask, without asking the workloads yet.
    ///
    /// # Errors
    /// When an identity was named with which nobody can be asked.
    pub(crate) async fn reach(&self) -> Result<Live, CliError> {
        let ask_as = match &self.identity {
            Some(directory) => {
                // Looked at first, by the one who knows what can be in the place of a key.
                let (files, _key) = IdentityFiles::find(directory)?;
                AskAs::Files(FilesConfig {
                    certificate: files.certificate,
                    key: files.key,
                    bundle: files.bundle.unwrap_or_else(|| directory.join("bundle.pem")),
                    federated: Vec::new(),
                    poll_interval: Duration::from_secs(1),
                    spiffe_id: self.operator.clone(),
                })
            }
            None => AskAs::Enrolled { operator: self.operator.clone() },
        };
        let options = AskOptions { admin: self.admin.clone(), ask_as, workloads: self.workloads.clone() };
        Ok(avouch_fleet::reach(&options).await?)
    }
}
