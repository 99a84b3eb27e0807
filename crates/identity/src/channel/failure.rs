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
    /// Whether it was this side that would not go on.
    ours: bool,
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
        Self { reason, detail, alert, ours: false, at, circumstances }
    }

    /// What this side found wrong with the server: the server knows no more than that we left.
    pub(super) fn found(mut self) -> Self {
        self.ours = true;
        self
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
        metadata.extend(self.command().map(|command| ("explain", command)));
        let commands = self.commands();
        let place = match circumstances.addresses().0 {
            Some(local) => format!("connection to {target} from {local}; {}", circumstances.sentence()),
            None => format!("connection to {target}"),
        };
        let message = format!("{reason}: {detail}; {commands} [{place}]");
        crate::status::with_metadata(self.reason, message, metadata)
    }

    /// What to run, the most telling first.
    fn commands(&self) -> String {
        let target = &self.circumstances.target;
        match self.command() {
            Some(record) if self.ours => {
                let expect = self
                    .circumstances
                    .expect
                    .as_ref()
                    .map(|id| format!(" --expect {id}"))
                    .unwrap_or_default();
                format!("what the server shows: `avouch handshake {target}{expect}`; its record: `{record}`")
            }
            Some(record) => format!("the server's record: `{record}`"),
            // Nobody has a record of what never arrived.
            None => format!(
                "step by step: `avouch handshake {target}`; who serves and who does not: `avouch check`"
            ),
        }
    }

    /// The command that finds the server's record: by our end of the connection and by when it failed.
    fn command(&self) -> Option<String> {
        let local = self.circumstances.addresses().0?;
        Some(format!("avouch explain {local} --at {}", seconds(self.at)))
    }
}
