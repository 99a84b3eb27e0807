//! Callers of many identities, which hold connections and see when each of them is closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avouch_identity::{Identity, IdentityFilter};
use avouch_testkit::ca::id;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::published::Published;
use super::{Commands, say};
use crate::clock::monotonic;
use crate::error::Error;
use crate::pki::{DNS_NAME, Pki, SERVER};

/// The name of the role.
pub const NAME: &str = "hold";

/// Connections that are opened at the same time.
const OPENING: usize = 16;

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Its certificates.
    pub pki: Pki,
    /// Whom it calls.
    pub address: SocketAddr,
    /// The connections of each identity.
    pub each: usize,
}

/// What it says when it is there, and when connections are open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// To open the connections of these identities, each of which has been answered. Answered by [`Ready`].
    Open {
        /// Their names.
        names: Vec<String>,
    },
    /// To wait until all connections of these identities have been closed. Answered by [`Closed`].
    Closed {
        /// Their names.
        names: Vec<String>,
        /// The longest time, in milliseconds.
        milliseconds: u64,
    },
}

/// When connections were closed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closed {
    /// The times by [`monotonic`], in nanoseconds.
    pub at: Vec<u64>,
    /// Connections of other identities that have been closed too.
    pub others: usize,
}

/// Holds connections as it is told until the input ends.
///
/// # Errors
/// When a connection cannot be opened, or is not closed in time.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut holder = Holder::new(options);
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        match work {
            Work::Open { names } => {
                holder.open(&names).await?;
                say(&Ready {})?;
            }
            Work::Closed { names, milliseconds } => {
                say(&holder.closed(&names, Duration::from_millis(milliseconds)).await?)?;
            }
        }
    }
    Ok(())
}

/// The times at which the connections of an identity were closed.
type Ends = Arc<watch::Sender<Vec<u64>>>;

/// Connections by the names of their identities.
pub(super) struct Holder {
    options: Options,
    held: BTreeMap<String, Ends>,
}

impl Holder {
    /// Holds nothing yet.
    pub(super) fn new(options: Options) -> Self {
        Self { options, held: BTreeMap::new() }
    }

    /// Opens the connections of these identities anew.
    ///
    /// # Errors
    /// When one is not answered.
    pub(super) async fn open(&mut self, names: &[String]) -> Result<(), Error> {
        for name in names {
            let published = Published::new(&self.options.pki, name, 0)?;
            let ends = Ends::default();
            self.held.insert(name.clone(), ends.clone());
            let mut opening = JoinSet::new();
            for _ in 0..self.options.each {
                if opening.len() >= OPENING
                    && let Some(opened) = opening.join_next().await
                {
                    opened.map_err(|error| Error::other(format!("a connection: {error}")))??;
                }
                opening.spawn(connect(published.identity.clone(), self.options.address, ends.clone()));
            }
            while let Some(opened) = opening.join_next().await {
                opened.map_err(|error| Error::other(format!("a connection: {error}")))??;
            }
        }
        Ok(())
    }

    /// Waits until all connections of these identities have been closed.
    ///
    /// # Errors
    /// When they are not in time.
    pub(super) async fn closed(&self, names: &[String], within: Duration) -> Result<Closed, Error> {
        let deadline = tokio::time::Instant::now() + within;
        let (mut at, mut others) = (Vec::new(), 0);
        for (name, ends) in &self.held {
            if !names.contains(name) {
                others += ends.borrow().len();
                continue;
            }
            let mut ends = ends.subscribe();
            let all = ends.wait_for(|closed| closed.len() >= self.options.each);
            let closed = tokio::time::timeout_at(deadline, all).await;
            let closed =
                closed.map_err(|_| Error::other(format!("{name} still has connections after {within:?}")))?;
            at.extend(closed.map_err(|error| Error::other(error.to_string()))?.iter().copied());
        }
        Ok(Closed { at, others })
    }
}

/// Opens a connection, has a call on it answered (with a denial), and then waits for its end in a task.
async fn connect(identity: Identity, address: SocketAddr, ends: Ends) -> Result<(), Error> {
    let expected = IdentityFilter::from(id(&format!("/{SERVER}")));
    let config = identity.client_tls(expected).map_err(|error| Error::other(error.to_string()))?;
    let tcp = TcpStream::connect(address).await.map_err(Error::system("connect"))?;
    let name = ServerName::try_from(DNS_NAME).map_err(|error| Error::other(error.to_string()))?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(Error::system("shake hands"))?;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await;
    let (mut sender, connection) = opened.map_err(|error| failed(&error))?;
    let driver = tokio::spawn(async move {
        // How it ends is not what is measured.
        let _ = connection.await;
        let at = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        ends.send_modify(|ends| ends.push(at));
    });
    let request = Request::post(format!("https://{DNS_NAME}/bench.Nothing/Call"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::other(error.to_string()))?;
    sender.send_request(request).await.map_err(|error| failed(&error))?;
    // The connection is open for as long as it can be used.
    tokio::spawn(async move {
        let _sender = sender;
        let _ = driver.await;
    });
    Ok(())
}

fn failed(error: &hyper::Error) -> Error {
    Error::other(format!("a connection: {}", avouch_text::with_causes(error)))
}

#[cfg(test)]
mod tests {
    use avouch_testkit::ca::Ca;

    use super::*;
    use crate::roles::revocable::{self, Revoke};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_connections_of_a_revoked_identity_close_and_no_others_and_it_comes_back() {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
        let pki = Pki::create(dir.path(), &ca).unwrap();
        let names: Vec<_> = ["first", "second"].map(str::to_owned).into();
        for name in &names {
            pki.add(&ca, name);
        }
        let options = revocable::Options { pki: pki.clone(), revocations: 10 };
        let (address, mut published) = revocable::start(&options).await.unwrap();
        let mut holder = Holder::new(Options { pki, address, each: 3 });
        holder.open(&names).await.unwrap();
        let within = Duration::from_secs(30);
        for _ in 0..2 {
            let cut = vec!["first".to_owned()];
            let done = revocable::publish(&mut published, &Revoke { names: cut.clone() }).unwrap();
            let closed = holder.closed(&cut, within).await.unwrap();
            assert_eq!((closed.at.len(), closed.others), (3, 0));
            assert!(closed.at.iter().all(|at| *at >= done.at));
            assert!(holder.open(&cut).await.is_err(), "it is revoked");
            revocable::publish(&mut published, &Revoke { names: Vec::new() }).unwrap();
            holder.open(&cut).await.unwrap();
        }
        let late = holder.closed(&names, Duration::from_millis(1)).await.unwrap_err().to_string();
        assert!(late.contains("still has connections"), "{late}");
    }
}
