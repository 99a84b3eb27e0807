//! The start of HTTP/2 on a connection of a client.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::prefixed_io::PrefixedIo;

/// The flow-control window of a stream. These numbers are those of hyper's client, whose defaults tonic's channel has.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// The flow-control window of the connection.
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;
/// The most bytes of an answer's headers.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// The stream that HTTP/2 is read from and written to.
pub(super) type Io = PrefixedIo<TlsStream<TcpStream>>;

/// HTTP/2 as it begins: what requests are sent with, and what has to be polled for it.
pub(super) struct Http2 {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) connection: h2::client::Connection<Io, Bytes>,
}

/// Starts HTTP/2: writes the client's preface.
pub(super) async fn start_http2(io: Io) -> Result<Http2, h2::Error> {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .enable_push(false)
        .handshake(io)
        .await?;
    Ok(Http2 { sender, connection })
}
