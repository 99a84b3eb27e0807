//! The server's first word: only it says that the server took us.
//!
//! In TLS 1.3 a client is through with its handshake before the server has judged its certificate; a refusal arrives as
//! an alert where the first frame should be. Read first, written after: what is written to a server that hangs up can
//! cost the alert.

use rustls::AlertDescription;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long to wait for the server to speak first; some wait for the client.
const SILENCE: Duration = Duration::from_millis(500);

/// The client's preface with empty settings (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The largest first frame read: more settings than there are.
const MAX_FRAME: usize = 16 * 1024;

/// What the server said first.
#[derive(Debug)]
pub(crate) enum FirstWord {
    /// SETTINGS, as name and value.
    Settings(Vec<(String, u32)>),
    /// Bytes that do not begin HTTP/2.
    NotHttp2,
    /// A TLS alert: it refuses.
    Alert(AlertDescription),
    /// It hung up.
    Closed(String),
}

/// Reads the server's first frame.
pub(crate) async fn first_word(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> FirstWord {
    let mut read = Vec::new();
    let first = tokio::time::timeout(SILENCE, more(stream, &mut read)).await;
    let outcome = match first {
        Ok(outcome) => outcome,
        // What became of the preface shows in what is read.
        Err(_elapsed) => match stream.write_all(PREFACE).await {
            Ok(()) => more(stream, &mut read).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = outcome {
        return failed(&error);
    }
    loop {
        match settings(&read) {
            Parsed::Whole(settings) => return FirstWord::Settings(settings),
            Parsed::Other => return FirstWord::NotHttp2,
            Parsed::Part => {
                if let Err(error) = more(stream, &mut read).await {
                    return failed(&error);
                }
            }
        }
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn failed(error: &io::Error) -> FirstWord {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => FirstWord::Alert(*alert),
        _ => FirstWord::Closed(error.to_string()),
    }
}

enum Parsed {
    Whole(Vec<(String, u32)>),
    Part,
    Other,
}

/// Parses a SETTINGS frame (RFC 9113 §6.5): three bytes of length, type 4, flags, stream 0, and six bytes each.
fn settings(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_at_checked(9) else {
        // Text, such as an answer of HTTP/1.1, is told before nine bytes are there.
        return if bytes.first().is_some_and(|byte| *byte != 0) { Parsed::Other } else { Parsed::Part };
    };
    let [a, b, c, kind, flags, stream @ ..] = head else { return Parsed::Other };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    if *kind != 4 || flags & 1 != 0 || stream != [0; 4] || length > MAX_FRAME || length % 6 != 0 {
        return Parsed::Other;
    }
    let Some(body) = rest.get(..length) else { return Parsed::Part };
    let all = body.chunks_exact(6).filter_map(|chunk| {
        let (name, value) = chunk.split_at_checked(2)?;
        let name = u16::from_be_bytes(name.try_into().ok()?);
        Some((setting(name), u32::from_be_bytes(value.try_into().ok()?)))
    });
    Parsed::Whole(all.collect())
}

fn setting(number: u16) -> String {
    let name = match number {
        1 => "HEADER_TABLE_SIZE",
        2 => "ENABLE_PUSH",
        3 => "MAX_CONCURRENT_STREAMS",
        4 => "INITIAL_WINDOW_SIZE",
        5 => "MAX_FRAME_SIZE",
        6 => "MAX_HEADER_LIST_SIZE",
        8 => "ENABLE_CONNECT_PROTOCOL",
        other => return format!("SETTING_{other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn word(bytes: &'static [u8]) -> FirstWord {
        let (mut client, mut server) = tokio::io::duplex(64);
        let writing = tokio::spawn(async move {
            for byte in bytes {
                server.write_all(&[*byte]).await.unwrap();
            }
        });
        let word = first_word(&mut client).await;
        drop(client);
        let _ = writing.await; // it may have more to say than was listened to
        word
    }

    #[tokio::test]
    async fn settings_are_read_byte_by_byte_and_named() {
        let word = word(b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\xc8\x12\x34\0\0\0\x01rest").await;
        let FirstWord::Settings(found) = word else { panic!("{word:?}") };
        assert_eq!(found, [("MAX_CONCURRENT_STREAMS".to_owned(), 200), ("SETTING_4660".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn what_is_no_settings_frame_is_no_http2() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\0\0\x01\x04\0\0\0\0\0\0",   // a length that is no multiple of six
            b"\0\0\0\x04\x01\0\0\0\0",     // an acknowledgement
            b"\0\0\0\x04\0\0\0\0\x01",     // on a stream
            b"\xff\xff\xff\x04\0\0\0\0\0", // far too long
            b"\0\0\x08\x07\0\0\0\0\0",     // GOAWAY
        ] {
            assert!(matches!(word(bytes).await, FirstWord::NotHttp2), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn who_hangs_up_has_said_nothing() {
        assert!(matches!(word(b"").await, FirstWord::Closed(_)));
        assert!(matches!(word(b"\0\0\x06\x04\0\0\0\0\0\0").await, FirstWord::Closed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_waits_for_the_client_is_spoken_to() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let serving = tokio::spawn(async move {
            let mut preface = vec![0; PREFACE.len()];
            server.read_exact(&mut preface).await.unwrap();
            server.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
            preface
        });
        assert!(matches!(first_word(&mut client).await, FirstWord::Settings(found) if found.is_empty()));
        assert_eq!(serving.await.unwrap(), PREFACE);
    }
}
