//! The connection to the issuer's administration socket.

use crate::args::Arguments;
use crate::error::CliError;
use crate::runtime_dir;
use avouch_api::admin::v1::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// A call to a local process that takes longer than this is not going to be answered.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Between two attempts to reach an issuer that is only starting.
const AGAIN: Duration = Duration::from_millis(100);

/// The largest answer: a list of several hundred thousand certificates.
const MAX_ANSWER: usize = 64 << 20;

/// Connects to the socket that the arguments name, or to the only one there is.
pub(crate) async fn connect(arguments: &Arguments) -> Result<AdminClient<Channel>, CliError> {
    let socket = match &arguments.socket {
        Some(socket) => socket.clone(),
        None => only_socket(runtime_dir::candidates(std::env::var_os("XDG_RUNTIME_DIR")))?,
    };
    let unreachable = |source| CliError::Unreachable { socket: socket.clone(), source };
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

/// Connects as [`connect`] does, and tries again for a while where no issuer answers. A socket that may not be used will
/// not be more allowed later, so that is said at once.
pub(crate) async fn connect_within(
    arguments: &Arguments,
    patience: Duration,
) -> Result<AdminClient<Channel>, CliError> {
    let attempts = async {
        loop {
            match connect(arguments).await {
                Err(error) if error.may_pass() => tokio::time::sleep(AGAIN).await,
                settled => return settled,
            }
        }
    };
    match tokio::time::timeout(patience, attempts).await {
        Ok(settled) => settled,
        Err(_elapsed) => connect(arguments).await, // with the error as it is now
    }
}

fn only_socket(directories: Vec<PathBuf>) -> Result<PathBuf, CliError> {
    let mut found = runtime_dir::sockets(&directories);
    // A socket whose issuer is gone is a leftover, as long as another one answers.
    if found.len() > 1 {
        found.retain(|socket| answers(socket));
    }
    match found.len() {
        0 => Err(CliError::NoSocket { looked_in: directories }),
        1 => found.pop().ok_or(CliError::NoSocket { looked_in: directories }),
        _ => Err(CliError::ManySockets { found }),
    }
}

fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
