//! The state that the calls, the socket and the driver of one connection share, and the state of one call.

use std::sync::Arc;

use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};
use tonic::Status;

use super::abuse::{Abuse, AbuseGuard};
use super::send_backlog::SendBacklog;
use super::shared::Shared;
use super::shares::{ConnectionShare, ShareExceeded};
use crate::connection_shutdown::ConnectionShutdown;
use crate::record::{CallRefused, ConnectionInfo};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) shared: Arc<Shared>,
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) peer: Option<Arc<PeerIdentity>>,
    pub(super) shutdown: Arc<ConnectionShutdown>,
    pub(super) abuse: AbuseGuard,
    pub(super) share: ConnectionShare,
    pub(super) backlog: SendBacklog,
}

impl ConnectionState {
    pub(super) fn peer_id(&self) -> Option<&SpiffeId> {
        self.peer.as_deref().map(PeerIdentity::spiffe_id)
    }

    /// Counts a call that was denied.
    pub(super) fn call_denied(&self) {
        self.judge(self.abuse.denied());
    }

    /// The status of a call that gets no share, at its beginning or later; the observers are told.
    #[cold]
    pub(super) fn exceeded(&self, exceeded: &ShareExceeded) -> Status {
        let detail = exceeded.to_string();
        self.shared.call_refused(&CallRefused {
            id: self.info.id,
            peer_addr: self.info.peer_addr,
            peer_id: self.peer_id(),
            reason: Reason::RateLimited,
            detail: &detail,
        });
        crate::status::status(Reason::RateLimited, detail, [])
    }

    fn judge(&self, outcome: Result<(), Abuse>) {
        if let Err(Abuse(words)) = outcome {
            self.shutdown.cut(Reason::RateLimited, words);
        }
    }
}

/// One call from its request to the end of its answer: gives back what it holds, and tells how it ended.
#[derive(Debug)]
pub(super) struct CallGuard {
    pub(super) state: Arc<ConnectionState>,
    is_stream: bool,
    held: u64,
    complete: bool,
}

impl CallGuard {
    /// Begins a call.
    ///
    /// # Errors
    /// When the call gets no share.
    pub(super) fn begin(state: &Arc<ConnectionState>) -> Result<Self, ShareExceeded> {
        state.share.call()?;
        Ok(Self { state: state.clone(), is_stream: false, held: 0, complete: false })
    }

    /// Counts an answer that has begun and waits for more to say as a stream, once.
    ///
    /// # Errors
    /// When the call gets no share of the streams.
    pub(super) fn waits(&mut self) -> Result<(), ShareExceeded> {
        if !self.is_stream {
            self.state.share.stream()?;
            self.is_stream = true;
        }
        Ok(())
    }

    /// Counts a frame of the answer that waits for the peer, in place of the one before it.
    ///
    /// # Errors
    /// When the call gets no share of the bytes.
    pub(super) fn hold(&mut self, bytes: u64) -> Result<(), ShareExceeded> {
        self.release();
        self.state.share.hold(bytes)?;
        self.held = bytes;
        Ok(())
    }

    /// Gives back the frame that waited.
    pub(super) fn release(&mut self) {
        if self.held > 0 {
            self.state.share.release(self.held);
            self.held = 0;
        }
    }

    /// Says whether everything of the answer was handed over: what is dropped before was abandoned by the peer.
    pub(super) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.release();
        if self.is_stream {
            self.state.share.stream_ended();
        } else {
            self.state.share.call_ended();
        }
        if self.complete {
            self.state.abuse.answered();
        } else {
            self.state.judge(self.state.abuse.abandoned());
        }
    }
}
