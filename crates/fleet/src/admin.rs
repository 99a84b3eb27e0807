//! The connection to the issuer's administration socket.

use crate::error::FleetError;
use crate::runtime_dir;
use avouch_api::admin::v1::admin_client;
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Calls the administration API over the socket.
pub type AdminClient = admin_client::AdminClient<Channel>;

/// The timeout of a call; a local process that takes longer is not going to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two attempts to reach an issuer that is only starting.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// The largest answer: a list of several hundred thousand certificates.
const MAX_ANSWER: usize = 64 << 20;

/// The administration socket of an issuer: the one that was named, or the only one there is.
#[derive(Debug, Clone, Default)]
pub struct AdminSocket(Option<PathBuf>);

impl AdminSocket {
    /// The socket at `path`; without one, that of the issuer which this user runs.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Connects to it.
    ///
    /// # Errors
    /// When there is none or more than one to choose from, or nobody answers on it.
    pub async fn connect(&self) -> Result<AdminClient, FleetError> {
        let socket = match &self.0 {
            Some(socket) => socket.clone(),
            None => only_socket(runtime_dir::candidates(std::env::var_os("XDG_RUNTIME_DIR")))?,
        };
        let unreachable = |source| FleetError::Unreachable { socket: socket.clone(), source };
        // Connected first, so that what the system says is not lost in the transport's error.
        let stream = UnixStream::connect(&socket).await.map_err(unreachable)?;
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_| {
            let stream = stream.take().map(TokioIo::new);
            std::future::ready(stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)))
        });
        let channel = Endpoint::from_static("http://localhost")
            .timeout(TIMEOUT)
            .connect_with_connector(connector)
            .await
            .map_err(|error| unreachable(std::io::Error::other(error)))?;
        Ok(AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER))
    }

    /// Connects as [`connect`](Self::connect) does, and tries again until `timeout` is over where no issuer answers. A
    /// socket that may not be used will not be more allowed later, so that is said at once.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_within(&self, timeout: Duration) -> Result<AdminClient, FleetError> {
        let attempts = async {
            loop {
                match self.connect().await {
                    Err(error) if error.may_pass() => tokio::time::sleep(RETRY_EVERY).await,
                    settled => return settled,
                }
            }
        };
        match tokio::time::timeout(timeout, attempts).await {
            Ok(settled) => settled,
            Err(_elapsed) => self.connect().await, // with the error as it is now
        }
    }
}

fn only_socket(directories: Vec<PathBuf>) -> Result<PathBuf, FleetError> {
    let mut found = runtime_dir::sockets(&directories);
    // Sockets of issuers that have ended are ignored if another one answers.
    if found.len() > 1 {
        found.retain(|socket| answers(socket));
    }
    match found.len() {
        0 => Err(FleetError::NoSocket { looked_in: directories }),
        1 => found.pop().ok_or(FleetError::NoSocket { looked_in: directories }),
        _ => Err(FleetError::ManySockets { found }),
    }
}

fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
