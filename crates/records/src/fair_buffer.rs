//! A bounded list that evicts fairly: when it is full, the oldest entry of the source with the most entries is evicted.
//!
//! So a source that floods it evicts its own entries. With all sources equal the oldest entry of all is evicted.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// Entries by source, oldest first. A source is a keyed hash, so that nobody can choose to collide with another.
#[derive(Debug)]
pub(crate) struct FairBuffer<T> {
    capacity: usize,
    entries: VecDeque<(u64, T)>,
    of_source: FxHashMap<u64, usize>,
}

impl<T> FairBuffer<T> {
    /// A buffer for `capacity` entries, and at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: VecDeque::new(), of_source: FxHashMap::default() }
    }

    pub(crate) fn push(&mut self, source: u64, entry: T) {
        if self.entries.len() >= self.capacity {
            self.evict();
        }
        *self.of_source.entry(source).or_default() += 1;
        self.entries.push_back((source, entry));
    }

    fn evict(&mut self) {
        let most = self.of_source.values().copied().max().unwrap_or_default();
        let has_most = |(source, _): &(u64, T)| self.of_source.get(source) == Some(&most);
        let Some(at) = self.entries.iter().position(has_most) else { return };
        let Some((source, _)) = self.entries.remove(at) else { return };
        if let Some(count) = self.of_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&source);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_source_forgets_its_own_entries_and_nobody_elses() {
        let mut buffer = FairBuffer::new(10);
        for entry in 0..3 {
            buffer.push(1, (1, entry));
        }
        for entry in 0..1000 {
            buffer.push(2, (2, entry));
        }
        let of = |source| {
            buffer.iter().filter(|(of, _)| *of == source).map(|(_, entry)| *entry).collect::<Vec<_>>()
        };
        assert_eq!(of(1), [0, 1, 2]);
        assert_eq!(of(2), (993..1000).collect::<Vec<_>>());
        assert_eq!(buffer.of_source.len(), 2);
    }

    #[test]
    fn with_every_source_equal_the_oldest_goes_and_no_source_is_kept_without_entries() {
        let mut buffer = FairBuffer::new(4);
        for source in 0..100 {
            buffer.push(source, source);
        }
        assert_eq!(buffer.iter().copied().collect::<Vec<_>>(), [96, 97, 98, 99]);
        assert_eq!(buffer.of_source.len(), 4);
    }
}
