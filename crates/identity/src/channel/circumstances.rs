//! What a client knows of one attempt to connect, whatever becomes of it: where it went, as whom, and by which clock.
//!
//! A TLS alert stands for many situations, and the server's record says which. Half of the causes lie on this side
//! though, and are known here alone: an SVID that has run out, a clock that is off, a bundle from before a change. So
//! every failure says them, beside the command that finds the server's record. No secret is among them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::{Reason, SpiffeId};
use rustls::AlertDescription;

use super::failure::ConnectFailure;
use crate::issuer_clock::ClockDifference;
use crate::svid::Svid;
use crate::verify::apart;

/// Our end and the other.
pub(crate) type Addresses = (Option<SocketAddr>, Option<SocketAddr>);

/// The most characters of our own SPIFFE ID in a message; its metadata has all of them.
const LONGEST_ID: usize = 200;

/// A measurement older than this says when it was made.
const FRESH: std::time::Duration = std::time::Duration::from_secs(120);

/// The first thing heard from a server after the handshake.
#[derive(Clone, Debug)]
enum Heard {
    /// It took us.
    Bytes,
    /// It did not.
    Alert(AlertDescription),
    /// It closed, or the connection broke.
    End(String),
}

/// One attempt to connect.
#[derive(Debug)]
pub(crate) struct Circumstances {
    pub(super) target: String,
    /// Who alone the server may be.
    pub(super) expect: Option<SpiffeId>,
    pub(super) svid: Option<Svid>,
    pub(super) bundle_sequence: Option<u64>,
    pub(super) clock: SharedClock,
    pub(super) difference: Option<ClockDifference>,
    addresses: OnceLock<Addresses>,
    heard: OnceLock<Heard>,
}

impl Circumstances {
    pub(super) fn new(
        target: String,
        expect: Option<&SpiffeId>,
        svid: Option<&Svid>,
        bundle_sequence: Option<u64>,
        clock: SharedClock,
        difference: Option<ClockDifference>,
    ) -> Self {
        let (addresses, heard) = (OnceLock::new(), OnceLock::new());
        let expect = expect.cloned();
        Self { target, expect, svid: svid.cloned(), bundle_sequence, clock, difference, addresses, heard }
    }

    /// A TCP connection is open: from here on the server has something to record.
    pub(super) fn connected(&self, addresses: Addresses) {
        // Once per attempt.
        let _ = self.addresses.set(addresses);
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.get().copied().unwrap_or_default()
    }

    pub(super) fn failure(self: &Arc<Self>, reason: Reason, detail: impl Into<String>) -> ConnectFailure {
        ConnectFailure::new(self.clone(), reason, detail.into(), None)
    }

    /// Notes what the connection yielded; only the first time counts.
    pub(super) fn hear(&self, outcome: Result<usize, &std::io::Error>) {
        if self.heard.get().is_some() {
            return;
        }
        let heard = match outcome {
            Ok(0) => Heard::End("the server closed the connection after the handshake".to_owned()),
            Ok(_) => Heard::Bytes,
            Err(error) => match alert(error) {
                Some(alert) => Heard::Alert(alert),
                None => Heard::End(format!("the connection broke after the handshake: {error}")),
            },
        };
        // Read by one task.
        let _ = self.heard.set(heard);
    }

    /// Why the server never took the connection, if it did not. It may say so late: then a call is under way that it
    /// has not seen.
    pub(super) fn never_taken(self: &Arc<Self>) -> Option<ConnectFailure> {
        match self.heard.get()? {
            Heard::Bytes => None,
            Heard::Alert(alert) => Some(self.refused(*alert)),
            Heard::End(how) => Some(self.failure(Reason::PeerConnectionClosed, how)),
        }
    }

    /// What an alert means, completed by what we know of our own certificate.
    pub(super) fn refused(self: &Arc<Self>, alert: AlertDescription) -> ConnectFailure {
        let (reason, detail) = self.meaning(alert);
        ConnectFailure::new(self.clone(), reason, format!("{detail} (alert {alert:?})"), Some(alert))
    }

    fn meaning(&self, alert: AlertDescription) -> (Reason, &'static str) {
        let now = self.clock.now();
        match (alert, &self.svid) {
            (AlertDescription::CertificateRequired, None) => {
                (Reason::ClientCertMissing, "the server requires a client certificate, none was presented")
            }
            (AlertDescription::CertificateExpired, Some(svid)) if svid.not_after() < now => {
                (Reason::CertExpired, "the server refused our SVID, which has expired")
            }
            (AlertDescription::CertificateExpired, Some(svid)) if svid.leaf().not_before() > now => (
                Reason::CertNotYetValid,
                "the server refused our SVID, which is not valid yet by our own clock",
            ),
            (AlertDescription::CertificateExpired, Some(_)) if self.in_step(now) => (
                Reason::HandshakeRefused,
                "to the server a certificate of our chain is outside its dates, by our clock our SVID is not: a clock \
                 is off, and ours agrees with the issuer's, so the server's has to be set; or an authority above it has \
                 ended",
            ),
            (AlertDescription::CertificateExpired, Some(_)) => (
                Reason::HandshakeRefused,
                "to the server a certificate of our chain is outside its dates, by our clock our SVID is not: a clock \
                 is off, or an authority above it has ended",
            ),
            (AlertDescription::CertificateRevoked, Some(_)) => {
                (Reason::CertRevoked, "the server refused our SVID, which is revoked")
            }
            (AlertDescription::ProtocolVersion, _) => {
                (Reason::ProtocolVersionUnsupported, "the server does not speak TLS 1.3")
            }
            (AlertDescription::NoApplicationProtocol, _) => {
                (Reason::NoApplicationProtocol, "the server does not speak h2")
            }
            _ => (Reason::HandshakeRefused, "the server refused the handshake"),
        }
    }

    /// Whether our clock has lately been found to agree with the issuer's.
    fn in_step(&self, now: SystemTime) -> bool {
        self.difference.is_some_and(|difference| {
            difference.is_none() && now.duration_since(difference.measured_at).is_ok_and(|age| age <= FRESH)
        })
    }

    /// Who we are and by which clock, in a sentence.
    pub(super) fn sentence(&self) -> String {
        let now = self.clock.now();
        let mut sentence = match &self.svid {
            None => "we showed no certificate".to_owned(),
            Some(svid) => format!(
                "our SVID {}, serial {}, {}",
                cut(svid.spiffe_id().as_str()),
                svid.leaf().serial(),
                life(svid, now)
            ),
        };
        if let Some(difference) = &self.difference {
            let age = now.duration_since(difference.measured_at);
            match &age {
                // It was set since: what was measured before says nothing any more.
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
        if let Some(sequence) = self.bundle_sequence {
            sentence.push_str(&format!("; our bundle has the sequence number {sequence}"));
        }
        sentence
    }

    /// The same for programs: what is not known is not there. Times are in seconds since 1970.
    pub(super) fn metadata(&self) -> Vec<(&'static str, String)> {
        let (local, remote) = self.addresses();
        let svid = self.svid.as_ref();
        let optional = [
            ("target", Some(self.target.clone())),
            ("client_address", local.map(|address| address.to_string())),
            ("server_address", remote.map(|address| address.to_string())),
            ("own_spiffe_id", svid.map(|svid| svid.spiffe_id().to_string())),
            ("own_serial", svid.map(|svid| svid.leaf().serial().to_owned())),
            ("own_not_before", svid.map(|svid| seconds(svid.leaf().not_before()))),
            ("own_not_after", svid.map(|svid| seconds(svid.not_after()))),
            ("own_bundle_sequence", self.bundle_sequence.map(|sequence| sequence.to_string())),
            ("own_clock_ahead_millis", self.difference.map(|clock| clock.ahead_millis.to_string())),
            ("own_clock_measured_at", self.difference.map(|clock| seconds(clock.measured_at))),
        ];
        optional.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The alert that a failed read or handshake brought, if it was one.
pub(super) fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
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

fn cut(id: &str) -> String {
    match id.char_indices().nth(LONGEST_ID) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or_default()),
        None => id.to_owned(),
    }
}
