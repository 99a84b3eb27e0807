//! The findings of an examination.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_spiffe::{PeerIdentity, Reason};
use rustls::pki_types::CertificateDer;

use super::super::attempt::ConnectAttempt;
use super::super::failure::ConnectFailure;
use super::super::progress::Step;
use super::examiner::Examiner;
use crate::negotiated_tls::NegotiatedTls;
use crate::verify::Rejection;

/// The result of an examination.
#[derive(Debug)]
#[non_exhaustive]
pub struct Examined {
    /// HOST:PORT.
    pub target: String,
    /// The time that resolving took.
    pub took: Duration,
    /// All addresses of the name, as the resolver prefers them.
    pub addresses: Vec<SocketAddr>,
    /// The steps at the addresses; the error says why there is no address.
    pub outcome: Result<Looked, Broken>,
}

/// The addresses as they were found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Looked {
    /// The address whose outcome a channel would have: the first that is good, else the one whose failure a channel
    /// would report.
    pub told: ExaminedAddress,
    /// The others that were looked at.
    pub others: Vec<ExaminedAddress>,
}

impl Looked {
    pub(super) fn of(looked: Vec<(ExaminedAddress, Option<ConnectFailure>)>) -> Option<Self> {
        let (mut others, failures): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
        let good = others.iter().position(|address| address.broken.is_none());
        let at = good.or_else(|| {
            let failures = failures.into_iter().flatten().collect();
            let reported = ConnectFailure::of_all(failures, 0)?.attempt.tried;
            others.iter().position(|address| Some(address.remote) == reported)
        })?;
        Some(Self { told: others.remove(at), others })
    }
}

/// The steps at one address.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExaminedAddress {
    /// The address.
    pub remote: SocketAddr,
    /// The local address of the connection, if there was one.
    pub local: Option<SocketAddr>,
    /// The time that TCP took.
    pub connect: Option<Duration>,
    /// The time that TLS took, and what was agreed on.
    pub tls: Option<(Duration, NegotiatedTls)>,
    /// The chain that the server presented, leaf first; `None` if it presented none.
    pub chain: Option<Vec<CertificateDer<'static>>>,
    /// The verdict of a channel on that chain; `None` if it was not verified.
    pub verdict: Option<Result<Arc<PeerIdentity>, Rejection>>,
    /// Whether a client certificate was asked for and presented.
    pub client_certificate: ClientCertificate,
    /// The time that the server's SETTINGS took to come, and the settings.
    pub settings: Option<(Duration, Vec<Setting>)>,
    /// The failure; `None`: a channel would use the connection.
    pub broken: Option<Broken>,
}

impl ExaminedAddress {
    pub(super) fn of(
        attempt: &ConnectAttempt,
        examiner: &Examiner,
        failure: Option<&ConnectFailure>,
    ) -> Self {
        let [connect, tls, answered] = attempt.progress.took();
        let seen = examiner.seen.get();
        let settings = attempt.settings();
        let settings =
            settings.map(|all| all.iter().map(|(number, value)| Setting(*number, *value)).collect());
        Self {
            remote: attempt.tried.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            local: attempt.addresses().0,
            connect,
            tls: tls.zip(attempt.progress.tls().cloned()),
            chain: seen.map(|seen| seen.chain.clone()),
            verdict: examiner.verdict(),
            client_certificate: match examiner.presented.get() {
                None => ClientCertificate::NotAsked,
                Some(false) => ClientCertificate::Withheld,
                Some(true) => ClientCertificate::Presented,
            },
            settings: answered.zip(settings),
            broken: failure.map(Broken::of),
        }
    }
}

/// Whether a client certificate was asked for and presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificate {
    /// The server did not ask for one.
    NotAsked,
    /// The server asked for one, and was shown none.
    Withheld,
    /// The server asked for one, and was shown one.
    Presented,
}

/// The failure of an examination, in the words of a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Broken {
    /// The step.
    pub step: Step,
    /// The word of the shared vocabulary.
    pub reason: Reason,
    /// The particulars of the reason.
    pub detail: String,
    /// The command that finds the server's record, where there can be one.
    pub explain: Option<String>,
    /// The time of the failure.
    pub at: SystemTime,
}

impl Broken {
    pub(super) fn of(failure: &ConnectFailure) -> Self {
        let (step, reason, detail) = (failure.step, failure.reason, failure.detail.clone());
        Self { step, reason, detail, explain: failure.command(), at: failure.at }
    }
}

/// A setting of HTTP/2; shows as in `MAX_CONCURRENT_STREAMS=200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting(pub(super) u16, pub(super) u32);

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, value) = self;
        // RFC 9113 §6.5.2, RFC 8441 §3.
        let name = match number {
            1 => "HEADER_TABLE_SIZE",
            2 => "ENABLE_PUSH",
            3 => "MAX_CONCURRENT_STREAMS",
            4 => "INITIAL_WINDOW_SIZE",
            5 => "MAX_FRAME_SIZE",
            6 => "MAX_HEADER_LIST_SIZE",
            8 => "ENABLE_CONNECT_PROTOCOL",
            other => return write!(f, "SETTING_{other}={value}"),
        };
        write!(f, "{name}={value}")
    }
}
