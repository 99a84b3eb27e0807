//! Many connections with one identity: held as long as the server keeps them, and opened again when it closes them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::Interval;

use super::Peer;
use crate::Error;
use crate::forge::Credentials;
use crate::tls::{self, Approach};

/// The behaviour of a crowd's connections.
#[derive(Debug, Clone)]
pub struct Conduct {
    /// From which address they come.
    pub from: IpAddr,
    /// How many are held at once.
    pub count: usize,
    /// One is opened at most this often, over all.
    pub pace: Duration,
    /// The bytes that each sends after the preface; nothing else is sent.
    pub first: Vec<u8>,
    /// Whether they read what the server sends. Those that do not never see its GOAWAY.
    pub reads: bool,
}

/// A crowd of connections, all of which are closed when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    dismissed: AtomicU64,
    failed: AtomicU64,
}

struct Member {
    target: SocketAddr,
    config: Arc<ClientConfig>,
    conduct: Arc<Conduct>,
    turn: Arc<tokio::sync::Mutex<Interval>>,
    counts: Arc<Counts>,
}

impl Crowd {
    /// Begins.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub fn gather(target: SocketAddr, credentials: &Credentials, conduct: Conduct) -> Result<Self, Error> {
        let config = tls::config(Approach::showing(Some(credentials)))?;
        let interval = tokio::time::interval(conduct.pace.max(Duration::from_micros(1)));
        let turn = Arc::new(tokio::sync::Mutex::new(interval));
        let (counts, conduct) = (Arc::<Counts>::default(), Arc::new(conduct));
        let mut tasks = JoinSet::new();
        for _ in 0..conduct.count {
            let (config, conduct) = (Arc::clone(&config), Arc::clone(&conduct));
            let (turn, counts) = (Arc::clone(&turn), Arc::clone(&counts));
            tasks.spawn(Member { target, config, conduct, turn, counts }.come_again());
        }
        Ok(Self { counts, _tasks: tasks })
    }

    /// Connections that came through their handshake.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.counts.up.load(Ordering::Relaxed)
    }

    /// Of these, those that the server has ended or asked to go.
    #[must_use]
    pub fn dismissed(&self) -> u64 {
        self.counts.dismissed.load(Ordering::Relaxed)
    }

    /// Attempts that did not come so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }
}

impl Member {
    async fn come_again(self) {
        // A connection that received GOAWAY stays open, so that the server has to close it, while the next one is
        // opened.
        let mut _unwelcome = None;
        loop {
            self.turn.lock().await.tick().await;
            match self.come().await {
                Ok(peer) => {
                    peer.dismissed().await;
                    self.counts.dismissed.fetch_add(1, Ordering::Relaxed);
                    _unwelcome = Some(peer);
                }
                Err(_refused) => drop(self.counts.failed.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    async fn come(&self) -> Result<Peer, Error> {
        let tcp = tls::socket(self.target, Some(self.conduct.from)).await?;
        // Closes with RST instead of FIN, since TIME_WAIT would use up the local ports and slow the flood down.
        tcp.set_zero_linger()?;
        let connection = tls::handshake_as(tcp, Arc::clone(&self.config)).await?;
        let mut peer =
            if self.conduct.reads { Peer::start(connection).await } else { Peer::deaf(connection).await };
        self.counts.up.fetch_add(1, Ordering::Relaxed);
        if !self.conduct.first.is_empty() {
            peer.send(&self.conduct.first).await;
        }
        Ok(peer)
    }
}
