//! HTTP/2 frames (RFC 9113 §6) and header blocks (RFC 7541), written octet by octet and wrong on request.

/// The connection preface of a client (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The frame that ends a header block, or a stream.
pub const END_STREAM: u8 = 0x1;
/// An acknowledgement, of SETTINGS or PING.
pub const ACK: u8 = 0x1;
/// The header block is complete.
pub const END_HEADERS: u8 = 0x4;

/// Frame types.
pub mod kind {
    /// DATA
    pub const DATA: u8 = 0;
    /// HEADERS
    pub const HEADERS: u8 = 1;
    /// PRIORITY
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS
    pub const SETTINGS: u8 = 4;
    /// PING
    pub const PING: u8 = 6;
    /// GOAWAY
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION
    pub const CONTINUATION: u8 = 9;
}

/// A frame of any type.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(length.get(1..).unwrap_or_default());
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// RST_STREAM with CANCEL.
#[must_use]
pub fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// WINDOW_UPDATE by an increment; zero is forbidden, and sent if told to.
#[must_use]
pub fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A header field, literal and never indexed: HPACK §6.2.3.
#[must_use]
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x10];
    for text in [name, value] {
        integer(&mut field, text.len());
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// The length of a string in HPACK (RFC 7541 §5.1), with a prefix of seven bits and no Huffman coding.
fn integer(out: &mut Vec<u8>, mut value: usize) {
    const PREFIX: usize = 127;
    let low = |value: usize| u8::try_from(value % 128).unwrap_or_default();
    if value < PREFIX {
        return out.push(low(value));
    }
    out.push(127);
    value -= PREFIX;
    while value >= 128 {
        out.push(low(value) | 0x80);
        value /= 128;
    }
    out.push(low(value));
}

/// The setting that says how much may be sent on a new stream (RFC 9113 §6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// SETTINGS with one setting.
#[must_use]
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// The header block of a gRPC call.
#[must_use]
pub fn request(path: &str) -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "https"),
        literal(":path", path),
        literal(":authority", "server.invalid"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

/// A call whose request is complete: headers, and one message in its gRPC frame.
#[must_use]
pub fn call(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let body = [&[0_u8][..], &length, message].concat();
    [frame(kind::HEADERS, END_HEADERS, stream, &request(path)), frame(kind::DATA, END_STREAM, stream, &body)]
        .concat()
}

/// A call whose message announces one octet more than follows, in frames as large as any server takes: its end never
/// comes.
#[must_use]
pub fn unfinished(stream: u32, path: &str, octets: usize) -> Vec<u8> {
    const LARGEST: usize = 16 * 1024;
    let announced = u32::try_from(octets + 1).unwrap_or(u32::MAX).to_be_bytes();
    let body = [&[0_u8][..], &announced, &vec![0; octets]].concat();
    let mut call = frame(kind::HEADERS, END_HEADERS, stream, &request(path));
    body.chunks(LARGEST).for_each(|part| call.extend(frame(kind::DATA, 0, stream, part)));
    call
}

/// A number of frames of one kind, on the first streams of a client.
#[must_use]
pub fn each(count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| of(2 * number + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_nine_octets_and_its_payload() {
        assert_eq!(reset(5), [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
        assert_eq!(frame(kind::SETTINGS, ACK, 0, &[]), [0, 0, 0, 4, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn an_unfinished_call_has_no_end_and_announces_more_than_it_has() {
        let call = unfinished(3, "/a/b", 20_000);
        let head = request("/a/b").len();
        let first = call.get(9 + head..).unwrap();
        assert_eq!(first[..9], [0, 0x40, 0, kind::DATA, 0, 0, 0, 0, 3]);
        assert_eq!(first[9..14], [0, 0, 0, 0x4e, 0x21]);
        assert_eq!(call.len(), 9 + head + 2 * 9 + 5 + 20_000);
        assert_eq!(setting(INITIAL_WINDOW_SIZE, 7), [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 7]);
    }

    #[test]
    fn each_call_has_a_stream_of_its_own() {
        assert_eq!(each(2, reset), [reset(1), reset(3)].concat());
    }

    #[test]
    fn lengths_are_written_as_hpack_has_them() {
        let written = |value| {
            let mut out = Vec::new();
            integer(&mut out, value);
            out
        };
        assert_eq!(written(126), [126]);
        assert_eq!(written(127), [127, 0]);
        assert_eq!(written(255), [127, 128, 1]);
        assert_eq!(literal("a", "b"), [0x10, 1, b'a', 1, b'b']);
    }
}
