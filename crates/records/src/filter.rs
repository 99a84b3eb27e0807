//! Filters of records. They compare records in memory, without formatting them first.

use std::net::{IpAddr, SocketAddr};

use avouch_api::observe::v1::Filter;
use avouch_authz::layer::DecisionId;
use avouch_identity::{ConnectionId, Verdict};

use crate::entry::{Attempt, Caller, Entry, Refused, Via};

/// The longest text that can match: a SPIFFE ID.
const LONGEST: usize = avouch_spiffe::MAX_SPIFFE_ID_BYTES;

/// A parsed [`Filter`].
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    refused_only: bool,
    about: Option<About>,
}

#[derive(Clone, Debug)]
enum About {
    Connection(ConnectionId),
    Decision(DecisionId),
    Address(IpAddr),
    Socket(SocketAddr),
    /// A SPIFFE ID, a serial number or a trace id.
    Text {
        text: String,
        trace: Option<[u8; 16]>,
    },
}

impl From<&Filter> for Matcher {
    fn from(filter: &Filter) -> Self {
        let about = filter.about.trim();
        Self { refused_only: filter.refused_only, about: (!about.is_empty()).then(|| About::read(about)) }
    }
}

impl About {
    fn read(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Connection(id);
        }
        if let Ok(id) = text.parse() {
            return Self::Decision(id);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::Address(address.to_canonical());
        }
        if let Ok(socket) = text.parse() {
            return Self::Socket(canonical(socket));
        }
        let text: String = text.chars().take(LONGEST).collect();
        // Serial numbers are often written in upper case and with colons.
        let text =
            if text.starts_with("spiffe://") { text } else { text.replace(':', "").to_ascii_lowercase() };
        let trace = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        let trace = trace.map(u128::to_be_bytes);
        Self::Text { text, trace }
    }

    fn attempt(&self, attempt: &Attempt) -> bool {
        let record = &attempt.record;
        match self {
            Self::Connection(id) => record.id == *id,
            Self::Decision(_) => false,
            Self::Address(address) => record.peer_addr.ip().to_canonical() == *address,
            Self::Socket(socket) => canonical(record.peer_addr) == *socket,
            Self::Text { text, .. } => {
                let presented = record.presented.as_ref();
                let id = record.peer_id.as_ref().or_else(|| presented?.spiffe_id.as_ref());
                id.is_some_and(|id| id.as_str() == text)
                    || presented.is_some_and(|presented| presented.serial == *text)
                    || record.peer_serial.as_ref() == Some(text)
            }
        }
    }

    fn call(&self, caller: &Caller, via: Option<Via>, trace_of: Option<[u8; 16]>) -> bool {
        match self {
            Self::Connection(id) => via.is_some_and(|via| via.id == *id),
            Self::Decision(_) => false,
            Self::Address(address) => via.is_some_and(|via| via.peer_addr.ip().to_canonical() == *address),
            Self::Socket(socket) => via.is_some_and(|via| canonical(via.peer_addr) == *socket),
            Self::Text { text, trace } => {
                caller.name() == text
                    || (trace.is_some() && trace_of == *trace)
                    || matches!(caller, Caller::Peer(peer) if peer.serial() == text)
            }
        }
    }

    fn refused(&self, refused: &Refused) -> bool {
        match self {
            Self::Decision(id) => refused.id == Some(*id),
            _ => self.call(&refused.caller, refused.via, refused.trace),
        }
    }
}

fn canonical(socket: SocketAddr) -> SocketAddr {
    SocketAddr::new(socket.ip().to_canonical(), socket.port())
}

impl Matcher {
    /// Whether allowed calls can match at all.
    pub(crate) fn wants_allowed(&self) -> bool {
        !self.refused_only
    }

    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        if self.refused_only && !is_refusal(entry) {
            return false;
        }
        let Some(about) = &self.about else { return true };
        match entry {
            Entry::Attempt(attempt) => about.attempt(attempt),
            Entry::Refused(refused) => about.refused(refused),
            Entry::Allowed(allowed) => about.call(&allowed.caller, allowed.via, allowed.trace),
        }
    }
}

/// Whether a record is of a refusal. A connection that was accepted and later closed because of its peer is one, too.
fn is_refusal(entry: &Entry) -> bool {
    match entry {
        Entry::Attempt(attempt) => {
            attempt.record.verdict == Verdict::Refused
                || attempt.closed.as_ref().is_some_and(|closed| closed.cause.is_some())
        }
        Entry::Refused(_) => true,
        Entry::Allowed(_) => false,
    }
}
