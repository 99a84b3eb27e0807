//! The targets under libFuzzer: one program for all, so that it is linked once. `AVOUCH_FUZZ_TARGET` names the target;
//! `./just fuzz` sets it, and the flags that make the compiler count what is reached.
//!
//! Half of the changes are libFuzzer's own, half are ours, which keep the form of the input.
#![no_main]

use std::sync::OnceLock;

use avouch_fuzz::mutate::{Rng, mutate};
use avouch_fuzz::{TARGETS, Target};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};

#[expect(clippy::panic, reason = "there is nothing to do without a target")]
fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("AVOUCH_FUZZ_TARGET").unwrap_or_default();
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        TARGETS
            .iter()
            .find(|target| target.name == name)
            .unwrap_or_else(|| panic!("AVOUCH_FUZZ_TARGET={name:?} is none of {known:?}"))
    })
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let _outcome = (target().run)(data);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut rng = Rng::new(u64::from(seed));
    if rng.below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let old = data.get(..size).unwrap_or_default().to_vec();
    let mut new = mutate(target().shape, &old, &old, &mut rng);
    new.truncate(max_size);
    if let Some(place) = data.get_mut(..new.len()) {
        place.copy_from_slice(&new);
    }
    new.len()
});
