//! The retirement of a connection, for the streams on it: the channel has moved on.

use std::sync::Arc;

use crate::connection_shutdown::{ConnectionShutdown, Stage};

/// In the extensions of a response that a [`Channel`](crate::Channel) received for a streaming method: tells when the
/// channel has moved on from the stream's connection, because another has taken its place (the SVID was renewed, the
/// server retires) or because it is gone.
///
/// The stream continues until it or its connection ends. A client that can continue it elsewhere opens the next one
/// at this moment and loses no time at the end.
#[derive(Clone, Debug)]
pub struct Retirement(Arc<ConnectionShutdown>);

impl Retirement {
    /// The retirement of a connection with this shutdown.
    pub(crate) fn new(shutdown: Arc<ConnectionShutdown>) -> Self {
        Self(shutdown)
    }

    /// Resolves when a new call goes over another connection.
    pub async fn retired(&self) {
        self.0.reached(Stage::Retiring).await;
    }

    /// Whether that is so now.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.0.stage() >= Stage::Retiring
    }
}
