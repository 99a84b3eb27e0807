//! Why a server did not accept this client: its alert, its first frame or its silence, completed by what is known of our
//! own certificate and clock.

use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::Reason;
use rustls::AlertDescription;

use super::attempt::{ConnectAttempt, FRESH, Heard};
use super::failure::ConnectFailure;
use super::progress::Step;
use crate::connection_shutdown::Stage;

impl ConnectAttempt {
    /// The failure of an attempt whose server rejected it or closed it before accepting, if it did.
    pub(super) fn never_taken(self: &Arc<Self>) -> Option<ConnectFailure> {
        match self.heard.get()? {
            Heard::Settings(_) => None,
            Heard::Overloaded(words) => {
                let detail = format!("the server turned us away: {words}");
                Some(self.failure(Step::Http2, Reason::HandshakeLimit, detail))
            }
            Heard::NotHttp2 => {
                let detail = "the server agreed on h2 and began with something else";
                Some(self.failure(Step::Http2, Reason::NoApplicationProtocol, detail).found())
            }
            Heard::Alert(alert) => Some(self.refused(*alert)),
            Heard::End(how) => Some(self.failure(Step::Http2, Reason::PeerConnectionClosed, how)),
        }
    }

    /// The failure of a connection that this side ended, if it did.
    pub(super) fn ended(self: &Arc<Self>) -> Option<ConnectFailure> {
        let cause = self.shutdown.cause().filter(|_| self.shutdown.stage() >= Stage::Ended)?;
        Some(self.failure(Step::Http2, cause.reason, cause.detail).found())
    }

    /// The failure that an alert means, completed by what we know of our own certificate.
    pub(super) fn refused(self: &Arc<Self>, alert: AlertDescription) -> ConnectFailure {
        let (reason, detail) = self.meaning(alert);
        let detail = format!("{detail} (alert {alert:?})");
        ConnectFailure::new(self.clone(), self.step_of(alert), reason, detail, Some(alert))
    }

    /// The step an alert belongs to: a server that has shown its certificate judges ours next.
    fn step_of(&self, alert: AlertDescription) -> Step {
        match alert {
            AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol => Step::ServerHello,
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Step::ClientCertificate,
            _ if !self.progress.is_negotiated() => Step::ServerHello,
            _ if self.ours.svid.is_some() => Step::ClientCertificate,
            _ => Step::Http2,
        }
    }

    fn meaning(&self, alert: AlertDescription) -> (Reason, &'static str) {
        let now = self.ours.clock.now();
        match (alert, &self.ours.svid) {
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
        self.ours.difference.is_some_and(|difference| {
            difference.is_none() && now.duration_since(difference.measured_at).is_ok_and(|age| age <= FRESH)
        })
    }
}
