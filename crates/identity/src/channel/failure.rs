//! Why a connection could not be opened, as its caller is told: one line with the reason, the particulars, what this
//! side knows itself, and the command that shows more.

use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::Reason;
use rustls::AlertDescription;

use super::circumstances::{Circumstances, seconds};

/// Why a connection could not be opened.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) reason: Reason,
    detail: String,
    alert: Option<AlertDescription>,
    at: SystemTime,
    circumstances: Arc<Circumstances>,
}

impl ConnectFailure {
    pub(super) fn new(
        circumstances: Arc<Circumstances>,
        reason: Reason,
        detail: String,
        alert: Option<AlertDescription>,
    ) -> Self {
        let at = circumstances.clock.now();
        Self { reason, detail, alert, at, circumstances }
    }

    /// A connection that was open and gone in the same moment.
    pub(super) fn said_goodbye(circumstances: &Arc<Circumstances>) -> Self {
        let detail = "the server closed the connection as soon as it was open: it is stopping, or its certificate \
                      or ours is about to end";
        circumstances.failure(Reason::ConnectionRetiring, detail)
    }

    /// Whether trying again, unchanged, can help.
    pub(crate) fn is_retryable(&self) -> bool {
        self.reason.retryable()
    }

    /// The status a caller sees: the reason, and the correlator by which the server's record is found.
    pub(crate) fn to_status(&self) -> tonic::Status {
        let circumstances = &self.circumstances;
        let target = &circumstances.target;
        let (reason, detail) = (self.reason, &self.detail);
        let mut metadata = circumstances.metadata();
        metadata.push(("unix_time", seconds(self.at)));
        metadata.extend(self.alert.map(|alert| ("alert", format!("{alert:?}"))));
        let message = match (self.command(), circumstances.addresses().0) {
            (Some(command), Some(local)) => {
                let own = circumstances.sentence();
                let message = format!(
                    "{reason}: {detail}; the server's record: `{command}` [connection to {target} from {local}; {own}]"
                );
                metadata.push(("explain", command));
                message
            }
            // Nobody has a record of what never arrived.
            _ => format!(
                "{reason}: {detail}; `avouch check` says who serves and who does not [connection to {target}]"
            ),
        };
        crate::status::with_metadata(self.reason, message, metadata)
    }

    /// The command that finds the server's record: by our end of the connection and by when it failed.
    fn command(&self) -> Option<String> {
        let local = self.circumstances.addresses().0?;
        Some(format!("avouch explain {local} --at {}", seconds(self.at)))
    }
}
