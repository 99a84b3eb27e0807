//! A server of the test's own on a free port of 127.0.0.1.

use std::convert::Infallible;
use std::net::SocketAddr;

use avouch_identity::{Drained, RequestBody, Server};
use bytes::Bytes;
use http_body::Body;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service;

/// A server that runs until it is stopped or dropped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

/// Serves until [`Running::stop`].
pub async fn serve<S, B>(server: Server, service: S) -> Running
where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        // Dropping the sender stops it as well.
        let shutdown = async { drop(stopped.await) };
        server.serve(listener, service, shutdown).await.expect("serving")
    });
    Running { address, stop, task }
}

impl Running {
    /// Its URL for a channel.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Lets connections finish, as SIGTERM would.
    pub async fn stop(self) -> Drained {
        drop(self.stop);
        self.task.await.expect("the server's task")
    }
}
