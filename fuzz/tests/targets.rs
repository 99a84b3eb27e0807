//! Every committed seed, then a fixed number of changed ones, through every target: the way to run them that needs no
//! tool. A seed whose name begins with `ok` has to be taken, every other to be refused.
//!
//! The changes are the same on every run; `AVOUCH_FUZZ_SEED=N` makes others, `AVOUCH_FUZZ_ROUNDS=N` that many times
//! more. An input that breaks a property is kept in a file, and named: with it among the seeds it stays a test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use avouch_fuzz::mutate::{Rng, mutate};
use avouch_fuzz::{Outcome, TARGETS, Target};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target)
}

/// Name and content of each seed, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder(target)).unwrap().map(|file| file.unwrap());
    let mut seeds: Vec<_> = files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Runs one input; keeps it if it breaks a property.
fn run(target: &Target, input: &[u8]) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|panic| {
        let digest = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
        });
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{digest:016x}", target.name));
        std::fs::write(&file, input).unwrap();
        eprintln!("the input is in {}; put it into {}", file.display(), folder(target.name).display());
        eprintln!("as text: {}", input.escape_ascii());
        resume_unwind(panic)
    })
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(name);
    for (seed, input) in &seeds {
        let expected = if seed.starts_with("ok") { Outcome::Accepted } else { Outcome::Refused };
        assert_eq!(run(target, input), expected, "{name}/{seed}");
    }
    let mut rng = Rng::new(number("AVOUCH_FUZZ_SEED", 1));
    let rounds = u64::from(target.rounds) * number("AVOUCH_FUZZ_ROUNDS", 1);
    let mut accepted = 0;
    for _ in 0..rounds {
        let [input, other] = [(); 2].map(|()| &seeds[rng.below(seeds.len())].1);
        let input = mutate(target.shape, input, other, &mut rng);
        accepted += u64::from(run(target, &input) == Outcome::Accepted);
    }
    eprintln!("{name}: {} seeds, {rounds} changed ones, of which {accepted} were taken", seeds.len());
}

/// A test for each target, and a list of them.
macro_rules! targets {
    ($($test:ident: $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            check($name);
        })*
    };
}

targets! {
    spiffe_ids_follow_their_grammar_and_print_back_unchanged: "spiffe-id",
    an_accepted_chain_is_an_svid_by_a_second_reading: "chain",
    of_a_request_only_its_key_reaches_the_certificate: "csr",
    a_join_token_survives_its_string_form_and_shows_its_secret_to_nobody: "join-token",
    a_policy_decides_as_a_naive_reading_of_it_and_errors_have_places: "policy",
    a_bundle_survives_being_written_and_holds_authorities_only: "bundle",
    a_grpc_timeout_is_what_the_protocol_says: "grpc-timeout",
    a_listener_records_every_attempt_once_and_admits_only_proven_identities: "handshake",
    revocations_are_read_as_a_naive_reading_finds_them_and_encode_to_the_same_octets: "trust-state",
    a_trust_update_is_taken_whole_or_not_at_all_and_drops_no_revocation_silently: "trust-update",
}

#[test]
fn every_target_is_tested_and_every_folder_of_seeds_is_a_targets() {
    let known: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(known, TESTED.iter().copied().collect());
    let entries = std::fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap());
    let folders: BTreeSet<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, known.iter().map(ToString::to_string).collect());
    for target in &known {
        let names: Vec<_> = seeds(target).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name.starts_with("ok")), "{target} has no seed that is right");
        assert!(names.iter().any(|name| !name.starts_with("ok")), "{target} has no seed that is wrong");
    }
}
