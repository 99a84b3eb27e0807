//! A fleet as a file: gzip, tar, JSON. What `avouch dump` writes and `--from` reads.
//!
//! Holds `fleet.json` (everything but the members, and the format's version) and one `members/NNNN.json` each. Dumps are
//! sent to others, so they carry no secret: what looks like a key or a join token is taken out before it is written.
//! Dumps come from others, so nothing in one is believed: nothing is unpacked onto the disk, entries of other names are
//! passed over, and size, number of files and number of values have limits.

use crate::error::FleetError;
use crate::fleet::{Fleet, Member};
use avouch_text::shorten;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The version of the files' content. One that only adds fields keeps it.
const FORMAT: u64 = 1;
const FLEET: &str = "fleet.json";
const MEMBERS: &str = "members/";

/// The limits within which a dump is read.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes, unpacked.
    total: u64,
    /// Objects and lists: a few bytes of text make hundreds of bytes in memory of each.
    values: usize,
    files: usize,
}

/// A hundred workloads with some ten thousand records each.
const LIMITS: Limits = Limits { total: 512 << 20, values: 4_000_000, files: 10_000 };

#[derive(Serialize, Deserialize)]
struct Head {
    format: u64,
    #[serde(default)]
    fleet: Value,
}

/// The dump of a fleet.
///
/// # Errors
/// When it would be too large to be read again.
pub fn pack(fleet: &Fleet) -> Result<Vec<u8>, FleetError> {
    let mut head = fleet.clone();
    let members = std::mem::take(&mut head.members);
    let mut packer =
        Packer { archive: tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default())), total: 0 };
    let packed = move || -> io::Result<Vec<u8>> {
        let head = Head { format: FORMAT, fleet: without_secrets(&head)? };
        packer.add(FLEET, &serde_json::to_value(head)?)?;
        for (place, member) in members.iter().enumerate() {
            packer.add(&format!("{MEMBERS}{place:04}.json"), &without_secrets(member)?)?;
        }
        packer.archive.into_inner()?.finish()
    };
    packed().map_err(FleetError::Pack)
}

struct Packer {
    archive: tar::Builder<GzEncoder<Vec<u8>>>,
    total: u64,
}

impl Packer {
    fn add(&mut self, name: &str, value: &Value) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.total += text.len() as u64;
        // Short of the limit of reading, which also counts what tar adds.
        if self.total > LIMITS.total / 2 {
            return Err(io::Error::other("there are more records than a dump can hold"));
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        self.archive.append_data(&mut header, name, text.as_slice())
    }
}

/// The value as JSON, without what looks like a secret.
fn without_secrets(value: &impl Serialize) -> io::Result<Value> {
    let mut value = serde_json::to_value(value)?;
    withhold(&mut value);
    Ok(value)
}

/// No message carries a secret; but texts come from files that people edit.
fn withhold(value: &mut Value) {
    match value {
        Value::String(text)
            if text.contains("PRIVATE KEY") || text.contains("avjt1.") || holds_octets(text) =>
        {
            *text = "[withheld: it looks like a secret]".to_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(withhold),
        Value::Object(values) => values.values_mut().for_each(withhold),
        _ => {}
    }
}

/// Whether a text shows sixteen octets or more as numbers: that is how an error of an older service quotes a file, be it a
/// key. Nothing honest that a process says looks like it.
fn holds_octets(text: &str) -> bool {
    let mut row = 0;
    text.split([',', ' ']).filter(|word| !word.is_empty()).any(|word| {
        let is_octet = word.trim_matches(['[', ']', '(', ')']).parse::<u8>().is_ok();
        row = if is_octet { row + 1 } else { 0 };
        row >= 16
    })
}

/// Reads a dump.
///
/// # Errors
/// When the file cannot be read, is no dump, or is larger than any.
pub fn read(path: &Path) -> Result<Fleet, FleetError> {
    let read_error = |source| FleetError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    // A pipe is read, too: `--from <(ssh HOST avouch dump -)`.
    let kind = file.metadata().map_err(read_error)?.file_type();
    if kind.is_dir() {
        return Err(read_error(io::ErrorKind::IsADirectory.into()));
    }
    if !(kind.is_file() || kind.is_fifo()) {
        return Err(read_error(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    // No dump is larger packed than unpacked; one that never ends is cut off here.
    unpack(file.take(LIMITS.total), LIMITS).map_err(|why| FleetError::Dump { path: path.to_owned(), why })
}

fn unpack(file: impl Read, limits: Limits) -> Result<Fleet, String> {
    let unpacked = Bounded { inner: GzDecoder::new(file), left: limits.total };
    let mut archive = tar::Archive::new(unpacked);
    let mut left = limits.values;
    let mut fleet: Option<Fleet> = None;
    let mut members: Vec<(String, Member)> = Vec::new();
    let mut names = BTreeSet::new();
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => error.to_string(),
        // The library quotes names and numbers of the archive.
        _ => format!("it is not a gzipped tar archive, or is cut off ({})", shorten(&error.to_string())),
    };
    for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
        if number >= limits.files {
            return Err(format!("it has more than {} files", limits.files));
        }
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !is_ours(&name) {
            continue;
        }
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            return Err(format!("{name} in it is {}, not a file", of_kind(kind)));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(broken)?;
        if name == FLEET {
            if fleet.replace(head(&text, &mut left)?).is_some() {
                return Err(format!("it has more than one {FLEET}"));
            }
        } else if !names.insert(name.clone()) {
            return Err(format!("it has more than one {name}"));
        } else {
            members.push((name.clone(), parse(&name, &text, &mut left)?));
        }
    }
    let mut fleet = fleet.ok_or_else(|| format!("it has no {FLEET}"))?;
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    fleet.members = members.into_iter().map(|(_, member)| member).collect();
    Ok(fleet)
}

fn of_kind(kind: tar::EntryType) -> &'static str {
    match kind {
        _ if kind.is_symlink() || kind.is_hard_link() => "a link",
        _ if kind.is_dir() => "a directory",
        _ => "something else",
    }
}

fn is_ours(name: &str) -> bool {
    let number = name.strip_prefix(MEMBERS).and_then(|rest| rest.strip_suffix(".json"));
    name == FLEET
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn head(text: &[u8], left: &mut usize) -> Result<Fleet, String> {
    // The version first: a newer one may have fields of other shapes.
    let head: Head = parse(FLEET, text, left)?;
    if head.format > FORMAT {
        return Err(format!(
            "it has format {}, this program knows up to {FORMAT}; read it with the newer avouch that wrote it",
            head.format
        ));
    }
    let mut fleet: Fleet = serde_json::from_value(head.fleet)
        .map_err(|error| format!("{FLEET} is not as it should be: {}", shorten(&error.to_string())))?;
    fleet.members.clear(); // they have files of their own
    Ok(fleet)
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8], left: &mut usize) -> Result<T, String> {
    let values = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    *left = left.checked_sub(values).ok_or("it holds more than any fleet")?;
    serde_json::from_slice(text)
        .map_err(|error| format!("{name} is not as it should be: {}", shorten(&error.to_string())))
}

/// A reader that fails rather than ends where there is more than `left`.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to more than any dump"))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
