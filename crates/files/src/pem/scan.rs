//! Finds the blocks of PEM text: markers and what is between them.

use zeroize::Zeroizing;

use super::error::PemError;
use super::kind::Kind;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A block before it is decoded.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) line: usize,
    /// Base64 without blanks and line ends.
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) encrypted: bool,
}

struct Open<'a> {
    label: &'a [u8],
    found: Found,
}

pub(super) fn scan(text: &[u8]) -> Result<Vec<Found>, PemError> {
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    // Old Mac files end their lines with a carriage return alone.
    let end_of_line = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    for (number, line) in (1..).zip(text.split(|octet| *octet == end_of_line)) {
        let line = trimmed(line);
        if let Some(label) = marker(line, BEGIN, number, open.is_some())? {
            if let Some(open) = open {
                return Err(PemError::Cut { kind: open.found.kind, line: open.found.line });
            }
            let body = Zeroizing::new(Vec::with_capacity(text.len()));
            let block = Found { kind: Kind::of(label), line: number, body, encrypted: false };
            open = Some(Open { label, found: block });
        } else if let Some(label) = marker(line, END, number, open.is_some())? {
            match open.take() {
                Some(open) if open.label == label => found.push(open.found),
                Some(open) => return Err(PemError::Cut { kind: open.found.kind, line: open.found.line }),
                None => return Err(PemError::NoBegin { line: number }),
            }
        } else if let Some(Open { found, .. }) = &mut open {
            body_line(found, line);
        }
    }
    match open {
        Some(open) => Err(PemError::Cut { kind: open.found.kind, line: open.found.line }),
        None => Ok(found),
    }
}

/// A line of a block: a header of RFC 1421 where older OpenSSL wrote some, else base64.
fn body_line(found: &mut Found, line: &[u8]) {
    if line.contains(&b':') {
        found.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        return;
    }
    found.body.extend(line.iter().filter(|octet| !octet.is_ascii_whitespace()));
}

/// The line without blanks around it, and without the byte order mark that some editors begin a file with; of files put
/// one behind the other each may have one.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    line.strip_prefix(BYTE_ORDER_MARK).map_or(line, |line| trimmed(line))
}

/// The label of a line that is a marker of this kind and nothing else; none if it has no marker.
fn marker<'a>(
    line: &'a [u8],
    kind: &[u8],
    number: usize,
    is_open: bool,
) -> Result<Option<&'a [u8]>, PemError> {
    let Some(rest) = line.strip_prefix(kind) else {
        // In the text between blocks a marker may be quoted; one with more behind it is a block that lost its line breaks.
        return match find(line, kind).and_then(|at| line.get(at + kind.len()..)) {
            Some(_) if is_open || find(line, END) == Some(0) => Err(PemError::SharedLine { line: number }),
            Some(rest) if label(rest).is_some_and(|(_, more)| !more.is_empty()) => {
                Err(PemError::LineBreaksMissing { line: number })
            }
            _ => Ok(None),
        };
    };
    match label(rest) {
        Some((label, [])) => Ok(Some(label)),
        Some((_, more)) if more.iter().all(|octet| *octet == b'-') && more.len() < DASHES.len() => {
            Err(PemError::BadMarker { line: number })
        }
        Some((_, more)) if find(more, DASHES) == Some(0) => Err(PemError::SharedLine { line: number }),
        Some(_) => Err(PemError::LineBreaksMissing { line: number }),
        None => Err(PemError::BadMarker { line: number }),
    }
}

/// What is before the closing dashes of a marker, and what is behind them.
fn label(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(rest, DASHES)?;
    Some((rest.get(..at)?, rest.get(at + DASHES.len()..)?))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
