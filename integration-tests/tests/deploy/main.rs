//! Every file under `deploy/` is read here by what will read it in earnest, or by the nearest to it that can be had.

mod compose;
mod coverage;
mod docker;
mod host;
mod kubernetes;
mod prometheus;
mod systemd;

use std::path::{Path, PathBuf};

/// The folder `deploy/`.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Whether there is a program of this name on `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
