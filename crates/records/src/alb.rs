//! Connections in the log format of an AWS Application Load Balancer, for tools that read such logs.
//!
//! One line of fifteen fields with a blank between: timestamp, client_ip, client_port, listener_port, tls_protocol,
//! tls_cipher, tls_handshake_latency (seconds), leaf_client_cert_subject (in quotes, always),
//! leaf_client_cert_validity, leaf_client_cert_serial_number, tls_verify_status, conn_trace_id, tls_keyexchange, elb,
//! ip_address. A field that does not apply is `-`. The connection's id stands for the trace id; there is no load balancer, so
//! `elb` is `-`, and `ip_address` is the address that was connected to.

use std::net::SocketAddr;

use avouch_api::observe::v1::Connection;
use avouch_spiffe::Reason;
use avouch_time::{parse_rfc3339, rfc3339};

/// The line of a connection, without a line feed.
#[must_use]
pub fn line(connection: &Connection) -> String {
    let peer = connection.peer_address.parse::<SocketAddr>().ok();
    let local = connection.local_address.parse::<SocketAddr>().ok();
    let ip = |address: Option<SocketAddr>| address.map(|address| address.ip().to_canonical().to_string());
    let port = |address: Option<SocketAddr>| address.map(|address| address.port().to_string());
    let accepted = connection.verdict == "accepted";
    let fields = [
        word(&connection.time),
        word(&ip(peer).unwrap_or_default()),
        word(&port(peer).unwrap_or_default()),
        word(&port(local).unwrap_or_default()),
        word(&connection.tls_version.replace('_', ".")),
        word(&connection.cipher.replacen("TLS13_", "TLS_", 1)),
        word(&if accepted { latency(connection.handshake_micros) } else { String::new() }),
        quoted(&connection.peer_subject),
        word(&validity(connection)),
        word(&connection.peer_serial.to_ascii_uppercase()),
        word(&verify_status(connection)),
        word(&connection.id),
        word(&connection.group),
        "-".to_owned(),
        word(&ip(local).unwrap_or_default()),
    ];
    fields.join(" ")
}

/// One field; a character that cannot be part of one becomes an underscore.
fn word(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_whitespace() || c.is_control() || c == '"' { '_' } else { c }).collect()
}

/// A field in quotes. The format has no way to write a quote inside.
fn quoted(text: &str) -> String {
    let text = if text.is_empty() { "-" } else { text };
    let inside: String = text
        .chars()
        .map(|c| {
            if c == '"' {
                '\''
            } else if c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect();
    format!("\"{inside}\"")
}

fn latency(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000)
}

fn validity(connection: &Connection) -> String {
    let second = |time: &str| parse_rfc3339(time).map(rfc3339);
    match (second(&connection.peer_not_before), second(&connection.peer_not_after)) {
        (Some(from), Some(to)) => format!("NotBefore={from};NotAfter={to}"),
        _ => String::new(),
    }
}

fn verify_status(connection: &Connection) -> String {
    if connection.verdict == "accepted" {
        return "Success".to_owned();
    }
    let code = connection.reason.parse().map_or(OTHER, code);
    format!("Failed:{code}")
}

/// The code of a reason that does not concern the certificate.
const OTHER: &str = "UnmappedConnectionError";

/// The load balancer's code for a reason.
#[must_use]
pub fn code(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientCertMissing => "ClientCertMissing",
        Reason::CertUntrusted | Reason::ChainIncomplete => "ClientCertUntrusted",
        Reason::CertExpired => "ClientCertExpired",
        Reason::CertNotYetValid => "ClientCertNotYetValid",
        Reason::CertRevoked => "ClientCertCrlHit",
        Reason::RevocationStateUnknown => "ClientCertCrlProcessingError",
        Reason::CertPurposeInvalid => "ClientCertPurposeInvalid",
        Reason::CertMalformed | Reason::CertSignatureInvalid => "ClientCertInvalid",
        Reason::CertAlgorithmRefused => "ClientCertTypeUnsupported",
        Reason::CertChainTooDeep => "ClientCertMaxChainDepthExceeded",
        Reason::CertTooLarge => "ClientCertMaxSizeExceeded",
        Reason::SvidInvalid
        | Reason::TrustDomainUnknown
        | Reason::IdentityNotAdmitted
        | Reason::IdentityRevoked => "ClientCertRejected",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_line::tests::whole_connection;

    #[test]
    fn a_refused_connection_is_this_line() {
        assert_eq!(
            line(&whole_connection()),
            "2026-01-02T03:04:05.678Z 192.0.2.7 40001 7001 TLSv1.3 TLS_AES_256_GCM_SHA384 - \"CN='odd\\,name'_\" \
             NotBefore=2026-01-02T03:00:00Z;NotAfter=2026-01-02T04:00:00Z 0A1B Failed:ClientCertExpired \
             conn-0011223344556677 X25519MLKEM768 - 198.51.100.1"
        );
    }

    #[test]
    fn an_accepted_connection_and_one_that_said_nothing_are_these_lines() {
        let accepted =
            Connection { verdict: "accepted".into(), peer_subject: String::new(), ..whole_connection() };
        assert_eq!(
            line(&accepted),
            "2026-01-02T03:04:05.678Z 192.0.2.7 40001 7001 TLSv1.3 TLS_AES_256_GCM_SHA384 0.001 \"-\" \
             NotBefore=2026-01-02T03:00:00Z;NotAfter=2026-01-02T04:00:00Z 0A1B Success conn-0011223344556677 \
             X25519MLKEM768 - 198.51.100.1"
        );
        let silent = Connection {
            id: "conn-0011223344556677".into(),
            time: "2026-01-02T03:04:05.678Z".into(),
            peer_address: "[::ffff:192.0.2.7]:40001".into(),
            verdict: "refused".into(),
            reason: "HANDSHAKE_TIMEOUT".into(),
            handshake_micros: 5_000_000,
            ..Connection::default()
        };
        assert_eq!(
            line(&silent),
            "2026-01-02T03:04:05.678Z 192.0.2.7 40001 - - - - \"-\" - - Failed:UnmappedConnectionError \
             conn-0011223344556677 - - -"
        );
    }

    #[test]
    fn a_line_has_fifteen_fields_whatever_a_stranger_wrote() {
        let hostile = Connection {
            peer_serial: "a b\nc".into(),
            peer_subject: "CN=\" Success \"\n".into(),
            cipher: "x y".into(),
            ..whole_connection()
        };
        let text = line(&hostile);
        let (before, rest) = text.split_once('"').unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        assert_eq!(before.split(' ').filter(|field| !field.is_empty()).count(), 7, "{text}");
        assert_eq!(after.split(' ').filter(|field| !field.is_empty()).count(), 7, "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn every_reason_has_a_code_and_what_concerns_the_certificate_is_not_unmapped() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            let of_certificate = word.starts_with("CERT_")
                || ["CLIENT_CERT_MISSING", "CHAIN_INCOMPLETE", "SVID_INVALID", "REVOCATION_STATE_UNKNOWN"]
                    .contains(&word)
                || ["TRUST_DOMAIN_UNKNOWN", "IDENTITY_NOT_ADMITTED", "IDENTITY_REVOKED"].contains(&word);
            assert_eq!(code(*reason) != OTHER, of_certificate, "{reason}");
        }
    }
}
