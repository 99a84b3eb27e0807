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

/// The configuration that these files of `deploy/` come to; of two that set a key the later wins, as in the programs.
#[expect(clippy::panic, reason = "a helper of tests, outside of any test function")]
fn configuration(files: &[&str]) -> toml::Table {
    fn merge(into: &mut toml::Table, from: toml::Table) {
        for (key, value) in from {
            match (into.get_mut(&key), value) {
                (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
                (_, value) => drop(into.insert(key, value)),
            }
        }
    }
    let mut merged = toml::Table::new();
    for file in files {
        let text =
            std::fs::read_to_string(deploy().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        merge(&mut merged, text.parse().unwrap_or_else(|error| panic!("{file}: {error}")));
    }
    merged
}

/// Whether there is a program of this name on `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
