//! The first frame of a server: only it says that the server accepted us, and that it speaks HTTP/2.
//!
//! In TLS 1.3 a client finishes its handshake before the server has verified its certificate; a rejection arrives as an
//! alert in place of the first frame. So does anything but HTTP/2 from a server that agreed on it.

/// The largest first frame that is read: more settings than there are. Also the frame size that HTTP/2 begins with.
const MAX_FRAME: usize = 16 * 1024;
/// The octets before a frame's payload (RFC 9113 §4.1).
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// The first frame of a server, as far as it has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstFrame {
    /// SETTINGS, as numbers and values (RFC 9113 §6.5.2).
    Settings(Vec<(u16, u32)>),
    /// SETTINGS followed at once by a GOAWAY that has processed nothing (§6.8): its debug data.
    GoAway(Vec<u8>),
    /// Bytes that do not begin HTTP/2: a server's first frame is SETTINGS (RFC 9113 §3.4).
    NotHttp2,
    /// An incomplete frame.
    Part,
}

impl FirstFrame {
    /// Parses three bytes of length, the type, flags, the stream, and six bytes for each setting (RFC 9113 §6.5).
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
            // Text, such as a response of HTTP/1.1, is recognized before nine bytes have arrived.
            return if bytes.first().is_some_and(|byte| *byte != 0) { Self::NotHttp2 } else { Self::Part };
        };
        let [a, b, c, kind, flags, stream @ ..] = head else { return Self::NotHttp2 };
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let settings = *kind == SETTINGS && flags & ACK == 0 && stream == [0; 4];
        if !settings || length > MAX_FRAME || length % 6 != 0 {
            return Self::NotHttp2;
        }
        let Some((body, next)) = rest.split_at_checked(length) else { return Self::Part };
        match go_away(next) {
            GoAway::None => {}
            GoAway::Part => return Self::Part,
            GoAway::Said(debug) => return Self::GoAway(debug.to_vec()),
        }
        let all = body.chunks_exact(6).filter_map(|chunk| {
            let (number, value) = chunk.split_at_checked(2)?;
            Some((u16::from_be_bytes(number.try_into().ok()?), u32::from_be_bytes(value.try_into().ok()?)))
        });
        Self::Settings(all.collect())
    }
}

/// A GOAWAY behind the settings.
enum GoAway<'a> {
    /// There is none: no bytes yet, or another frame of a server that has accepted us.
    None,
    /// The beginning of a GOAWAY.
    Part,
    /// The debug data of a GOAWAY with nothing processed and ENHANCE_YOUR_CALM: how a server refuses for overload a
    /// caller whose certificate is good.
    Said(&'a [u8]),
}

fn go_away(next: &[u8]) -> GoAway<'_> {
    const GOAWAY: u8 = 7;
    const OVERLOADED: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0xb];
    let Some((head, rest)) = next.split_at_checked(HEAD) else { return GoAway::None };
    let [a, b, c, GOAWAY, ..] = head else { return GoAway::None };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    match rest.get(..length) {
        // Longer than a frame may be at first: h2 will say so.
        None if length > MAX_FRAME => GoAway::None,
        None => GoAway::Part,
        Some(body) => body.strip_prefix(&OVERLOADED).map_or(GoAway::None, GoAway::Said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_whole_with_their_last_byte_and_not_before() {
        let frame = b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\xc8\x12\x34\0\0\0\x01";
        for part in 0..frame.len() {
            assert_eq!(FirstFrame::parse(&frame[..part]), FirstFrame::Part, "{part} bytes");
        }
        let whole = FirstFrame::Settings(vec![(3, 200), (0x1234, 1)]);
        assert_eq!(FirstFrame::parse(frame), whole);
        assert_eq!(FirstFrame::parse(&[frame, &b"rest"[..]].concat()), whole);
        assert_eq!(FirstFrame::parse(b"\0\0\0\x04\0\0\0\0\0"), FirstFrame::Settings(Vec::new()));
    }

    #[test]
    fn a_goodbye_in_the_same_breath_is_told_from_one_that_comes_later_or_has_processed_something() {
        const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
        let goaway = |last: u8, code: u8| {
            [&b"\0\0\x0c\x07\0\0\0\0\0\0\0\0"[..], &[last, 0, 0, 0, code], b"full"].concat()
        };
        let first = |rest: &[u8]| FirstFrame::parse(&[SETTINGS, rest].concat());
        assert_eq!(first(&goaway(0, 0xb)), FirstFrame::GoAway(b"full".to_vec()));
        let taken = FirstFrame::Settings(Vec::new());
        for rest in [&goaway(0, 0)[..], &goaway(1, 0xb), b"\0\0\0\x07\0\0\0\0\0", b"\0"] {
            assert_eq!(first(rest), taken, "{rest:?}");
        }
        assert_eq!(first(&goaway(0, 0xb)[..15]), FirstFrame::Part);
    }

    #[test]
    fn what_is_no_settings_frame_is_no_http2() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"H",
            b"\0\0\x01\x04\0\0\0\0\0\0",   // a length that is no multiple of six
            b"\0\0\0\x04\x01\0\0\0\0",     // an acknowledgement
            b"\0\0\0\x04\0\0\0\0\x01",     // on a stream
            b"\xff\xff\xff\x04\0\0\0\0\0", // far too long
            b"\0\0\x08\x07\0\0\0\0\0",     // GOAWAY
        ] {
            assert_eq!(FirstFrame::parse(bytes), FirstFrame::NotHttp2, "{bytes:?}");
        }
    }
}
