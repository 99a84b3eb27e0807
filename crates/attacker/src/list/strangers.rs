//! Peers without a certificate, or with another protocol.

use std::net::SocketAddr;

use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Made, made};
use crate::Error;
use crate::forge::Credentials;
use crate::grpc::{self, Attempt, Call, Outcome};
use crate::hello::{STRANGE_GROUPS, STRANGE_SUITES, TLS_1_2};
use crate::tls::{self, Approach, PATIENCE};

/// All strangers, at a service that is to take `call`. `right` are credentials without fault, which do not help.
pub async fn strangers(right: &Credentials, target: SocketAddr, call: &Call<'_>) -> Vec<Made> {
    let nothing = grpc::attempt(target, Approach::showing(None), call).await;
    let plain = grpc::attempt_in_plaintext(target, call).await;
    let mute = Approach { alpn: &[], ..Approach::showing(Some(right)) };
    let mute = grpc::attempt(target, mute, call).await;
    let web = raw(target, b"GET / HTTP/1.1\r\nhost: payments\r\n\r\n").await;
    let old = raw(target, &TLS_1_2.bytes()).await;
    let suites = raw(target, &STRANGE_SUITES.bytes()).await;
    let groups = raw(target, &STRANGE_GROUPS.bytes()).await;
    made([
        ("no certificate", "CLIENT_CERT_MISSING", nothing),
        ("plaintext HTTP/2", "NOT_TLS", plain),
        ("plaintext HTTP/1.1", "NOT_TLS", web),
        ("a good certificate, but no ALPN", "NO_APPLICATION_PROTOCOL", mute),
        ("a TLS 1.2 ClientHello", "PROTOCOL_VERSION_UNSUPPORTED", old),
        ("no common cipher suite", "CIPHER_SUITE_MISMATCH", suites),
        ("no common group", "CIPHER_SUITE_MISMATCH", groups),
    ])
}

/// The reactions of a listener to bytes that are not TLS, or not a handshake that it accepts.
///
/// # Errors
/// When nobody listens, or the listener neither answers nor ends the connection.
pub async fn raw(target: SocketAddr, bytes: &[u8]) -> Result<Attempt, Error> {
    let conversation = async {
        let mut tcp = tls::socket(target, None).await?;
        let local = tcp.local_addr()?;
        tcp.write_all(bytes).await?;
        let mut answer = Vec::new();
        // However it ends: it ended, and what came before that is what counts.
        let _ = tcp.read_to_end(&mut answer).await;
        let alert = answer.get(6).filter(|_| answer.first() == Some(&21));
        let alert = alert.map(|code| format!("{:?}", AlertDescription::from(*code)));
        Ok(Attempt { local, outcome: Outcome::Disconnected { alert, text: String::new() } })
    };
    tokio::time::timeout(PATIENCE, conversation).await?
}
