//! What the released protos promise stays: `proto/avouch/released.txt` lists every message, field, enum, value, service and
//! method of them, and this test names each one that has been changed or has vanished. What is new is free.
//!
//! A field or a value may go if its number and its name are reserved. After a release:
//! `AVOUCH_RELEASED=proto cargo test -p avouch-api --test released`, from the root of the repository; it refuses to write a
//! list that breaks the one there is. Messages as the released version encodes them: `recorded` beside the list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod recorded;
mod surface;

use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;

use crate::surface::Surface;

const HEADER: &str =
    "# What the released protos promise; written and checked by crates/api/tests/released.\n\n";

/// The path of a file below the root of the repository.
fn in_repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The protos as they are now.
fn current() -> DescriptorPool {
    DescriptorPool::decode(avouch_api::FILE_DESCRIPTOR_SET).unwrap()
}

/// The protos that are about to be promised, if this is a run that writes.
fn to_be_released() -> Option<DescriptorPool> {
    let folder = in_repository(std::env::var_os("AVOUCH_RELEASED")?);
    let names =
        ["issuer", "admin", "observe"].map(|name| folder.join(format!("avouch/{name}/v1/{name}.proto")));
    let mut compiler = protox::Compiler::new([&folder]).unwrap();
    compiler.include_imports(true).open_files(names).unwrap();
    Some(compiler.descriptor_pool())
}

#[test]
fn what_was_released_is_still_there_and_means_the_same() {
    let file = in_repository("proto/avouch/released.txt");
    let listed = fs::read_to_string(&file).unwrap_or_default();
    let released = Surface::parse(&listed);
    if let Some(pool) = to_be_released() {
        let next = Surface::of(&pool);
        assert_eq!(next.breaks(&released), [""; 0], "not written: it breaks what is promised");
        fs::write(&file, format!("{HEADER}{next}")).unwrap();
    }
    assert!(listed.lines().count() > 100 || to_be_released().is_some(), "{} is empty", file.display());
    let broken = Surface::of(&current()).breaks(&released);
    assert_eq!(broken, [""; 0], "older builds would not understand this one");
}

#[test]
fn the_list_survives_being_written_and_read() {
    let surface = Surface::of(&current());
    assert_eq!(Surface::parse(&format!("{HEADER}{surface}")).to_string(), surface.to_string());
}
