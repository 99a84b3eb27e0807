//! Changes to inputs that keep most of their form: octets, words of a language, or elements of DER whose enclosing
//! lengths follow. The same number gives the same changes.

use crate::der::{self, Tlv};
use crate::targets::Shape;

/// A small generator of pseudo-random numbers (SplitMix64); nothing secret comes from it.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Begins at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_number() % end).unwrap_or_default()
    }

    fn octet(&mut self) -> u8 {
        let [octet, ..] = self.next_number().to_be_bytes();
        octet
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// One to four changes to `data`; what is put in may come from `other`.
#[must_use]
pub fn mutate(shape: Shape, data: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = data.to_vec();
    for _ in 0..=rng.below(4) {
        out = match shape {
            Shape::Text(words) if rng.below(2) == 0 => with_word(&out, words, rng),
            Shape::Der if rng.below(4) != 0 => with_element(&out, other, rng),
            Shape::Tagged => tagged(&out, other, rng),
            _ => with_octets(&out, other, rng),
        };
    }
    out
}

/// Mostly leaves the first octet alone; what follows may be DER.
fn tagged(data: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (Some((tag, rest)), true) = (data.split_first(), rng.below(16) != 0) else {
        return with_octets(data, other, rng);
    };
    let other = other.get(1..).unwrap_or_default();
    let rest = if der::first(rest).is_some() && rng.below(4) != 0 {
        with_element(rest, other, rng)
    } else {
        with_octets(rest, other, rng)
    };
    [&[*tag], rest.as_slice()].concat()
}

fn with_octets(data: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'/'];
    let (at, end) = (rng.below(data.len() + 1), rng.below(data.len() + 1));
    let (at, end) = (at.min(end), at.max(end));
    let (before, after) = (data.get(..at).unwrap_or_default(), data.get(at..).unwrap_or_default());
    let tail = data.get(end..).unwrap_or_default();
    let (first, rest) = (after.first().copied().unwrap_or_default(), after.get(1..).unwrap_or_default());
    let part = |source: &[u8], rng: &mut Rng| {
        let from = rng.below(source.len() + 1);
        source.iter().skip(from).take(1 + rng.below(32)).copied().collect::<Vec<_>>()
    };
    let middle = match rng.below(9) {
        0 => return [before, &[first ^ (1 << rng.below(8))], rest].concat(),
        1 => return [before, &[rng.octet()], rest].concat(),
        2 => return [before, &[rng.one_of(&TELLING).copied().unwrap_or_default()], rest].concat(),
        3 => return [before, tail].concat(),
        4 => return before.to_vec(),
        5 => vec![rng.octet()],
        6 => vec![rng.octet(); 1 + rng.below(300)],
        7 => part(data, rng),
        _ => part(other, rng),
    };
    [before, &middle, after].concat()
}

fn with_word(data: &[u8], words: &[&str], rng: &mut Rng) -> Vec<u8> {
    let Some(word) = rng.one_of(words) else { return data.to_vec() };
    // In the place of another word, or anywhere.
    let places: Vec<_> = words
        .iter()
        .flat_map(|known| {
            let found = data.windows(known.len().max(1)).enumerate();
            found.filter(|(_, window)| *window == known.as_bytes()).map(|(at, _)| (at, known.len()))
        })
        .collect();
    let (at, length) = match rng.one_of(&places) {
        Some(place) if rng.below(2) == 0 => *place,
        _ => (rng.below(data.len() + 1), 0),
    };
    let (before, after) = (data.get(..at).unwrap_or_default(), data.get(at + length..).unwrap_or_default());
    [before, word.as_bytes(), after].concat()
}

/// Changes one element, however deep, and the lengths around it.
fn with_element(data: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let count = count(data);
    if count == 0 {
        return with_octets(data, other, rng);
    }
    let replacement = nth(other, rng.below(self::count(other))).unwrap_or_else(|| TRUE.to_vec());
    let chosen = rng.below(count);
    let mut index = Some(chosen);
    rewrite(data, &mut index, &mut |element| changed(element, &replacement, rng))
}

const TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// An extension that nobody knows, critical.
const UNKNOWN_EXTENSION: &[u8] =
    &[0x30, 0x0e, 0x06, 0x05, 0x2a, 0x03, 0x04, 0x05, 0x06, 0x01, 0x01, 0xff, 0x04, 0x02, 0x05, 0x00];

fn changed(element: &Tlv<'_>, replacement: &[u8], rng: &mut Rng) -> Vec<u8> {
    const TAGS: [u8; 20] = [
        1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x30, 0x31, 0x80, 0x81, 0x82, 0x86, 0x87, 0xa0, 0xa3,
    ];
    match rng.below(12) {
        0 => Vec::new(),
        1 => [element.raw, element.raw].concat(),
        2..=4 => der::tlv(element.tag, &with_octets(element.value, replacement, rng)),
        5 => der::tlv(rng.one_of(&TAGS).copied().unwrap_or_default(), element.value),
        6 => replacement.to_vec(),
        7 => [element.raw, replacement].concat(),
        8 => der::tlv(element.tag, &[]),
        9 => der::tlv(rng.one_of(&TAGS).copied().unwrap_or_default(), element.raw),
        10 => [element.raw, UNKNOWN_EXTENSION].concat(),
        _ => [TRUE, element.raw].concat(),
    }
}

/// What is inside of an element, if that is more elements, and how many octets stand before them.
fn within<'a>(element: &Tlv<'a>) -> Option<(usize, &'a [u8])> {
    let elements = |value: &[u8]| !value.is_empty() && der::all(value).is_some();
    match element.tag {
        der::OCTET_STRING if elements(element.value) => Some((0, element.value)),
        der::BIT_STRING => {
            let inner = element.value.get(1..)?;
            elements(inner).then_some((1, inner))
        }
        tag if tag & 0x20 != 0 => Some((0, element.value)),
        _ => None,
    }
}

fn count(mut data: &[u8]) -> usize {
    let mut found = 0;
    while let Some((element, rest)) = der::first(data) {
        found += 1 + within(&element).map_or(0, |(_, inner)| count(inner));
        data = rest;
    }
    found
}

/// The element with this number, in the order of writing.
fn nth(data: &[u8], number: usize) -> Option<Vec<u8>> {
    let mut found = None;
    let mut index = Some(number);
    rewrite(data, &mut index, &mut |element| {
        found = Some(element.raw.to_vec());
        Vec::new()
    });
    found
}

/// Writes `data` again with one element changed. `index` counts down to it.
fn rewrite(
    mut data: &[u8],
    index: &mut Option<usize>,
    change: &mut dyn FnMut(&Tlv<'_>) -> Vec<u8>,
) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((element, rest)) = der::first(data) {
        data = rest;
        match *index {
            Some(0) => {
                *index = None;
                out.extend(change(&element));
                continue;
            }
            Some(left) => *index = Some(left - 1),
            None => {}
        }
        match within(&element) {
            Some((skipped, inner)) if index.is_some() => {
                let before = element.value.get(..skipped).unwrap_or_default();
                let inner = rewrite(inner, index, change);
                out.extend(der::tlv(element.tag, &[before, inner.as_slice()].concat()));
            }
            _ => out.extend_from_slice(element.raw),
        }
    }
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_changes_and_the_lengths_around_it_follow() {
        let inner = der::sequence(&[&der::tlv(der::OCTET_STRING, &der::sequence(&[TRUE])), TRUE]);
        let data = [der::sequence(&[&inner]), TRUE.to_vec()].concat();
        assert_eq!(count(&data), 7);
        for number in 0..7 {
            let mut index = Some(number);
            let longer = rewrite(&data, &mut index, &mut |element| [element.raw, &[5, 0]].concat());
            assert_eq!(count(&longer), 8, "{number}");
            assert!(der::all(&longer).is_some());
        }
    }

    #[test]
    fn the_same_number_gives_the_same_changes() {
        let run = || mutate(Shape::Der, &der::sequence(&[TRUE, TRUE]), TRUE, &mut Rng::new(7));
        assert_eq!(run(), run());
    }
}
