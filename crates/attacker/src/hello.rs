//! A ClientHello written by hand, with offers that no current TLS library makes.

use crate::der::joined;

/// The offer of a ClientHello.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// Versions in `supported_versions`; none leaves the extension out, as clients before TLS 1.3 do.
    pub versions: &'a [u16],
    /// Cipher suites.
    pub suites: &'a [u16],
    /// Key exchange groups.
    pub groups: &'a [u16],
}

/// A client that speaks TLS 1.2 at most.
pub const TLS_1_2: Hello<'static> =
    Hello { versions: &[], suites: &[0xc02b, 0xc02f, 0x009c], groups: &[0x001d, 0x0017] };

/// A client that speaks TLS 1.3 with suites nobody else has.
pub const STRANGE_SUITES: Hello<'static> =
    Hello { versions: &[0x0304], suites: &[0x1304, 0x1305], groups: &[0x001d, 0x0017] };

/// A client that knows groups of finite fields only.
pub const STRANGE_GROUPS: Hello<'static> =
    Hello { versions: &[0x0304], suites: &[0x1301], groups: &[0x0100, 0x0101] };

impl Hello<'_> {
    /// The bytes on the wire: one record.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let schemes = short_list(&[0x0403, 0x0804]);
        let groups = short_list(self.groups);
        let versions = [vec![octet(self.versions.len() * 2)], shorts(self.versions)].concat();
        let mut extensions = vec![extension(0x000d, &schemes), extension(0x000a, &groups)];
        if !self.versions.is_empty() {
            extensions.push(extension(0x002b, &versions));
            // No key share: the server is to choose a group, if it has one.
            extensions.push(extension(0x0033, &[0, 0]));
        }
        let body = joined(&[
            vec![3, 3],
            vec![0x5a; 32],
            vec![0],
            short_list(self.suites),
            vec![1, 0],
            long(&joined(&extensions)),
        ]);
        let message = [vec![1, 0], long(&body)].concat();
        [vec![22, 3, 1], long(&message)].concat()
    }
}

fn octet(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

fn shorts(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn short_list(values: &[u16]) -> Vec<u8> {
    long(&shorts(values))
}

/// Content with its length in two octets in front.
fn long(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [length.to_be_bytes().to_vec(), content.to_vec()].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [number.to_be_bytes().to_vec(), long(content)].concat()
}
