//! Every command of `docs/operations` is run: each block marked `sh` by one test, as it stands on the page.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

#[expect(dead_code, reason = "of the host of the tests of deploy/, what these tests need")]
#[path = "../deploy/host.rs"]
mod host;
mod pages;
mod stage;

mod backup;
mod capacity;
mod claims;
mod install_host;
mod kubernetes;
mod runbooks;
mod upgrade;

use std::path::{Path, PathBuf};

/// The folder `deploy/`.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
