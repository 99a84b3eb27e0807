//! One attempt to connect, as the client knows it: the target, our own identity and clock, and what the server said
//! first.
//!
//! A TLS alert stands for many situations, and the server's record says which. Half of the causes lie on this side and
//! are known here alone: an SVID that has expired, a clock that is off, a bundle from before a change. So every failure
//! states them, beside the command that finds the server's record. No secret is among them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};
use avouch_time::clock::SharedClock;
use rustls::AlertDescription;
use tokio::sync::Notify;

use super::first_frame::FirstFrame;
use super::progress::Progress;
use crate::clock_skew::ClockDifference;
use crate::connection_shutdown::ConnectionShutdown;
use crate::svid::Svid;
use crate::time_text::apart;
use crate::tls::alert_of;

/// The local and the remote address of a connection.
pub(crate) type Addresses = (Option<SocketAddr>, Option<SocketAddr>);

/// The most characters of our own SPIFFE ID in a message; its metadata has all of them.
const LONGEST_ID: usize = 200;

/// The age beyond which a measurement of the clocks says when it was made.
pub(super) const FRESH: std::time::Duration = std::time::Duration::from_secs(120);

/// The first thing heard from a server after the handshake.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The server accepted us: its SETTINGS, as numbers and values.
    Settings(Vec<(u16, u32)>),
    /// The server refused us for overload although it accepted our certificate; the debug data of its GOAWAY.
    Overloaded(String),
    /// The server speaks something other than HTTP/2.
    NotHttp2,
    /// The server rejected us with an alert.
    Alert(AlertDescription),
    /// The server closed, or the connection broke.
    End(String),
}

/// Our side of an attempt: the target, the expected server, our own SVID, bundle and clock.
#[derive(Debug)]
pub(super) struct OurSide {
    pub(super) target: String,
    /// The one identity that the server may have, where it is only one.
    pub(super) expect: Option<SpiffeId>,
    pub(super) svid: Option<Svid>,
    pub(super) bundle_sequence: Option<u64>,
    pub(super) clock: SharedClock,
    pub(super) difference: Option<ClockDifference>,
}

/// One attempt to connect to one address.
#[derive(Debug)]
pub(crate) struct ConnectAttempt {
    pub(super) ours: Arc<OurSide>,
    /// The address that is tried; none where the name has none.
    pub(super) tried: Option<SocketAddr>,
    pub(super) progress: Progress,
    addresses: OnceLock<Addresses>,
    peer: OnceLock<Arc<PeerIdentity>>,
    pub(super) heard: OnceLock<Heard>,
    /// The end of the connection, once it was open.
    pub(super) shutdown: Arc<ConnectionShutdown>,
    /// Wakes the one task that makes the attempt when the server has said something.
    heard_something: Notify,
}

impl ConnectAttempt {
    pub(super) fn new(ours: Arc<OurSide>, tried: Option<SocketAddr>) -> Self {
        Self {
            ours,
            tried,
            progress: Progress::new(),
            addresses: OnceLock::new(),
            peer: OnceLock::new(),
            heard: OnceLock::new(),
            shutdown: Arc::default(),
            heard_something: Notify::new(),
        }
    }

    /// A TCP connection is open: from here on the server has something to record.
    pub(super) fn connected(&self, addresses: Addresses) {
        // Once per attempt.
        let _ = self.addresses.set(addresses);
        self.progress.connected();
    }

    /// Our end of the connection and the other, once there is one.
    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.get().copied().unwrap_or_default()
    }

    /// Notes that TLS is up, and the identity that the server has proven.
    pub(super) fn verified(&self, peer: Arc<PeerIdentity>) {
        // Once per attempt.
        let _ = self.peer.set(peer);
    }

    /// The identity that the server has proven.
    pub(super) fn peer(&self) -> Option<&Arc<PeerIdentity>> {
        self.peer.get()
    }

    /// Notes the server's first frame; only the first call counts.
    pub(super) fn hear(&self, frame: FirstFrame) {
        match frame {
            FirstFrame::Settings(settings) => self.set_heard(Heard::Settings(settings)),
            FirstFrame::GoAway(debug) => self.set_heard(Heard::Overloaded(said(&debug))),
            FirstFrame::NotHttp2 => self.set_heard(Heard::NotHttp2),
            FirstFrame::Part => {}
        }
    }

    /// Notes that the server closed before its first frame.
    pub(super) fn hear_end(&self) {
        self.set_heard(Heard::End("the server closed the connection after the handshake".to_owned()));
    }

    /// Notes that the connection failed before the server's first frame.
    pub(super) fn hear_error(&self, error: &std::io::Error) {
        self.set_heard(match alert_of(error) {
            Some(alert) => Heard::Alert(alert),
            None => Heard::End(format!("the connection broke after the handshake: {error}")),
        });
    }

    fn set_heard(&self, heard: Heard) {
        // Told by one task, once.
        let _ = self.heard.set(heard);
        self.progress.answered();
        self.heard_something.notify_one();
    }

    /// Resolves once the server has said something, be it good or bad.
    pub(super) async fn heard(&self) {
        while self.heard.get().is_none() {
            self.heard_something.notified().await;
        }
    }

    pub(super) fn has_heard(&self) -> bool {
        self.heard.get().is_some()
    }

    /// The settings of a server that accepted us.
    pub(super) fn settings(&self) -> Option<&[(u16, u32)]> {
        match self.heard.get()? {
            Heard::Settings(settings) => Some(settings),
            _ => None,
        }
    }

    /// The command that finds the server's record of the connection, by our end of it and a time.
    pub(super) fn command(&self, at: SystemTime) -> Option<String> {
        let local = self.addresses().0?;
        Some(format!("avouch explain {local} --at {}", seconds(at)))
    }

    /// Our own identity, clock and bundle, in a sentence.
    pub(super) fn sentence(&self) -> String {
        let now = self.ours.clock.now();
        let mut sentence = match &self.ours.svid {
            None => "we showed no certificate".to_owned(),
            Some(svid) => format!(
                "our SVID {}, serial {}, {}",
                cut(svid.spiffe_id().as_str()),
                svid.leaf().serial(),
                life(svid, now)
            ),
        };
        if let Some(difference) = &self.ours.difference {
            let age = now.duration_since(difference.measured_at);
            match &age {
                // The clock was set back since the measurement, which is therefore no longer valid.
                Err(_) => sentence.push_str(&format!(
                    "; our clock was put back by at least {} since it was compared with the issuer's",
                    apart(now, difference.measured_at)
                )),
                Ok(_) => sentence.push_str(&format!("; our clock is {difference}")),
            }
            if age.is_ok_and(|age| age > FRESH) {
                sentence.push_str(&format!(" (measured {} ago)", apart(difference.measured_at, now)));
            }
        }
        if let Some(sequence) = self.ours.bundle_sequence {
            sentence.push_str(&format!("; our bundle has the sequence number {sequence}"));
        }
        sentence
    }

    /// The same as metadata for programs: what is not known is not there. Times are in seconds since 1970.
    pub(super) fn metadata(&self) -> Vec<(&'static str, String)> {
        let (local, remote) = self.addresses();
        let svid = self.ours.svid.as_ref();
        let optional = [
            ("target", Some(self.ours.target.clone())),
            ("client_address", local.map(|address| address.to_string())),
            ("server_address", remote.map(|address| address.to_string())),
            ("own_spiffe_id", svid.map(|svid| svid.spiffe_id().to_string())),
            ("own_serial", svid.map(|svid| svid.leaf().serial().to_owned())),
            ("own_not_before", svid.map(|svid| seconds(svid.leaf().not_before()))),
            ("own_not_after", svid.map(|svid| seconds(svid.not_after()))),
            ("own_bundle_sequence", self.ours.bundle_sequence.map(|sequence| sequence.to_string())),
            ("own_clock_ahead_millis", self.ours.difference.map(|clock| clock.ahead_millis.to_string())),
            ("own_clock_measured_at", self.ours.difference.map(|clock| seconds(clock.measured_at))),
        ];
        optional.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The most characters of what a server says when it turns us away.
const LONGEST_WORDS: usize = 400;

/// The words of a server, made printable. Its reason is left out: a message of ours begins with it.
fn said(debug: &[u8]) -> String {
    let text = String::from_utf8_lossy(debug);
    let reason = format!("{}: ", Reason::HandshakeLimit);
    let text = avouch_text::shorten_to(text.strip_prefix(&reason).unwrap_or(&text), LONGEST_WORDS);
    if text.is_empty() { "it does not say why".to_owned() } else { text }
}

pub(super) fn seconds(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
}

fn life(svid: &Svid, now: SystemTime) -> String {
    let (begin, end) = (svid.leaf().not_before(), svid.not_after());
    if end < now {
        return format!("expired {} ago by our clock", apart(end, now));
    }
    if begin > now {
        return format!("becomes valid in {} by our clock", apart(now, begin));
    }
    format!("is valid for another {}", apart(now, end))
}

pub(super) fn cut(id: &str) -> String {
    match id.char_indices().nth(LONGEST_ID) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or_default()),
        None => id.to_owned(),
    }
}
