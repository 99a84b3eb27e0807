//! Opens TCP to a name that may have several addresses, as replicas behind one name have.
//!
//! One of them may belong to a machine that has just gone: nobody refuses there, packets vanish. So the next address is
//! tried as soon as one has failed, or has kept silent for a moment, and whichever answers first is taken (RFC 8305 §5).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// How long an address may keep silent before the next is tried beside it ("Connection Attempt Delay").
const SILENCE: Duration = Duration::from_millis(250);

/// Connects to one of the addresses of `host`.
///
/// # Errors
/// When the name has none, or no address takes the connection: the last one's.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    first_to_answer(lookup_host((host, port)).await?.collect()).await
}

async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut untried = addresses.into_iter();
    // Dropped with this future: whoever comes second is not connected to.
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = untried.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        if attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(outcome) = attempts.join_next() => match outcome.map_err(io::Error::from) {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) | Err(error) => failure = error,
            },
            () = tokio::time::sleep(SILENCE), if untried.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::{Instant, timeout};

    use super::*;

    async fn good() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn refusing() -> SocketAddr {
        good().await.1
    }

    /// An address that neither takes nor refuses: its queue is full, so that what asks is dropped.
    async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(connected) = timeout(SILENCE, TcpStream::connect(address)).await {
            queued.push(connected.unwrap());
        }
        (listener, queued, address)
    }

    #[tokio::test]
    async fn an_address_that_keeps_silent_does_not_keep_the_next_one_waiting() {
        let ((_full, _queued, silent), (_listener, good)) = (silent().await, good().await);
        let begun = Instant::now();
        let connection = first_to_answer(vec![silent, good]).await.unwrap();
        assert_eq!(connection.peer_addr().unwrap(), good);
        assert!(begun.elapsed() >= SILENCE, "the first address has its chance");
        assert!(begun.elapsed() < Duration::from_secs(1), "a lost packet is sent again after a second");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over_at_once() {
        let (refusing, (_listener, good)) = (refusing().await, good().await);
        let begun = Instant::now();
        let connection = first_to_answer(vec![refusing, refusing, good]).await.unwrap();
        assert_eq!(connection.peer_addr().unwrap(), good);
        assert!(begun.elapsed() < SILENCE);
    }

    #[tokio::test]
    async fn without_an_address_that_answers_there_is_no_connection() {
        let refusing = refusing().await;
        let error = first_to_answer(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = first_to_answer(vec![]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
