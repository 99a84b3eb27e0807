//! The answer to a peer for whose connection there is no room after its handshake.
//!
//! TLS has no word for it, and a connection that is only closed looks like a fault of the network. So the peer gets the
//! beginning of an HTTP/2 connection, an empty SETTINGS frame (RFC 9113 §3.4), and its end, GOAWAY with
//! ENHANCE_YOUR_CALM and the reason as debug data (§6.8); over HTTP/1.1 an answer with 503.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The most octets of the text that are sent: a message with a SPIFFE ID and numbers fits.
const LONGEST: usize = 512;

/// `SETTINGS` without any, on stream 0.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Tells the peer, and closes so that it arrives: half-closed, and read on for at most `linger`.
pub(super) async fn send(mut stream: Box<TlsStream<TcpStream>>, http1: bool, text: &str, linger: Duration) {
    let message = if http1 { http1_answer(text) } else { http2_goaway(text) };
    let say = async {
        stream.write_all(&message).await?;
        stream.shutdown().await?;
        let mut scratch = [0_u8; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever happens now, the connection ends.
    let _ = tokio::time::timeout(linger, say).await;
}

fn http2_goaway(text: &str) -> Vec<u8> {
    let text = cut(text);
    // Last stream 0: nothing was processed, whatever has been sent.
    let length = u32::try_from(8 + text.len()).unwrap_or(8).to_be_bytes();
    let mut message = SETTINGS.to_vec();
    message.extend(length.iter().skip(1));
    message.extend([GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(ENHANCE_YOUR_CALM.to_be_bytes());
    message.extend(text.as_bytes());
    message
}

fn http1_answer(text: &str) -> Vec<u8> {
    let text = cut(text);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nretry-after: \
         1\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

fn cut(text: &str) -> &str {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_http2_reads_settings_and_a_goaway_with_the_text() {
        let message = http2_goaway("full");
        assert_eq!(message[..9], SETTINGS);
        assert_eq!(
            message[9..],
            [0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, b'f', b'u', b'l', b'l']
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let message = http2_goaway(&"ä".repeat(LONGEST));
        assert_eq!(message.len(), 9 + 9 + 8 + LONGEST);
        assert!(std::str::from_utf8(&message[26..]).is_ok());
        assert!(
            String::from_utf8(http1_answer(&format!("x{}", "ä".repeat(LONGEST))))
                .unwrap()
                .contains("content-length: 511")
        );
    }
}
