//! Every file under `deploy/` is read here by what will read it in earnest, or by the nearest to it that can be had.

mod compose;
mod coverage;
mod kubernetes;
mod prometheus;
mod systemd;

use std::path::{Path, PathBuf};

/// The folder `deploy/`.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
