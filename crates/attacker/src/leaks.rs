//! Searches the output of a process for octets of secrets: any [`PIECE`] octets of one are a leak, as they are, in
//! base64, in hexadecimal, or as decimal numbers.
//!
//! An output is not searched for each of these forms of each secret. It is read the other way: whatever in it can be
//! text with escapes, base64, hexadecimal or numbers is decoded, and any piece of a secret in that is found wherever it
//! begins. Keys and tokens of no honest run are named by their marks alone.

mod damage;
mod views;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub use damage::damaged;

/// The number of consecutive octets of a secret that count as a leak.
pub const PIECE: usize = 16;

/// Texts that every key or token contains.
const MARKS: [&str; 2] = ["PRIVATE KEY-----", "avjt1."];

/// The secrets to look for. Shows none of them.
#[derive(Default)]
pub struct Secrets {
    pieces: HashSet<[u8; PIECE]>,
    // One bit for each beginning of three octets: nearly all that is searched is told by it to be no piece.
    begins: Vec<u64>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} pieces)", self.pieces.len())
    }
}

/// A leak in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Its line, from 1.
    pub line: usize,
    /// In which form.
    pub form: &'static str,
}

impl Secrets {
    /// How many pieces are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// A secret of any kind. Less than [`PIECE`] octets are not looked for: they would be found by chance.
    pub fn octets(&mut self, secret: &[u8]) {
        self.begins.resize(1 << 18, 0);
        for piece in secret.windows(PIECE).filter_map(|piece| <[u8; PIECE]>::try_from(piece).ok()) {
            let (word, bit) = begin(&piece);
            if let Some(word) = self.begins.get_mut(word) {
                *word |= bit;
            }
            self.pieces.insert(piece);
        }
    }

    /// A join token: its text, and the secret inside of it. The rest of its content is public.
    pub fn token(&mut self, token: &str) {
        let payload = token.trim().split_once('.').map_or(token, |(_, payload)| payload);
        self.octets(payload.as_bytes());
        let content = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        let content: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
        if let Some(secret) = content.get("secret").and_then(serde_json::Value::as_str) {
            self.octets(secret.as_bytes());
            self.octets(&URL_SAFE_NO_PAD.decode(secret).unwrap_or_default());
        }
    }

    /// Every private key in PEM text: its base64 and what that encodes, up to the public key at its end.
    pub fn keys(&mut self, pem: &str) {
        for block in pem.split("PRIVATE KEY-----").skip(1).step_by(2) {
            let body: String = block.split("-----").next().unwrap_or_default().split_whitespace().collect();
            let der = STANDARD.decode(&body).unwrap_or_default();
            // In certificates as well: `[1] BIT STRING`, an uncompressed point of P-256 (RFC 5915 §3).
            let public = der.windows(5).position(|octets| octets == [0xa1, 0x44, 3, 0x42, 0]);
            let secret = public.unwrap_or(der.len());
            self.octets(der.get(..secret).unwrap_or_default());
            self.octets(body.as_bytes().get(..secret * 4 / 3).unwrap_or_default());
        }
    }

    /// The private keys in all files below `dir` that are called like PEM files.
    pub fn keys_below(&mut self, dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                self.keys_below(&path);
            } else if path.extension().is_some_and(|extension| extension == "pem" || extension == "key")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                self.keys(&text);
            }
        }
    }

    /// Every line of an output in which there is a piece of a secret, and every mark of one.
    #[must_use]
    pub fn leaks(&self, output: &[u8]) -> Vec<Leak> {
        let mut leaks = self.pieces_in(output);
        for (number, line) in (1..).zip(String::from_utf8_lossy(output).split('\n')) {
            if MARKS.iter().any(|mark| line.contains(mark)) {
                leaks.push(Leak { line: number, form: "a mark" });
            }
        }
        leaks
    }

    /// As [`leaks`](Self::leaks), without the marks: for outputs that speak of keys and tokens as such.
    #[must_use]
    pub fn pieces_in(&self, output: &[u8]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        if let Some(at) = self.find(output) {
            let line =
                1 + output.get(..at).unwrap_or_default().iter().filter(|octet| **octet == b'\n').count();
            leaks.push(Leak { line, form: "its octets" });
        }
        // A key that is printed on lines of its own has pieces in each of them.
        for (number, line) in (1..).zip(output.split(|octet| *octet == b'\n')) {
            let text = String::from_utf8_lossy(line);
            let found = views::of(&text, &mut |view| self.find(view).is_some());
            leaks.extend(found.map(|form| Leak { line: number, form }));
        }
        leaks
    }

    fn find(&self, view: &[u8]) -> Option<usize> {
        view.windows(PIECE).position(|window| {
            let Ok(piece) = <&[u8; PIECE]>::try_from(window) else { return false };
            let (word, bit) = begin(piece);
            self.begins.get(word).is_some_and(|word| word & bit != 0) && self.pieces.contains(piece)
        })
    }
}

/// The bit of a piece's beginning.
fn begin([a, b, c, ..]: &[u8; PIECE]) -> (usize, u64) {
    let at = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests;
