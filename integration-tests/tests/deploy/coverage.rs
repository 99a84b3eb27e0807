//! No file under `deploy/` without a test that reads it.

#![expect(clippy::panic, reason = "helpers of tests, outside of any test function")]

use std::path::{Path, PathBuf};

/// Which test reads what is in a folder of `deploy/`.
const READ_BY: [(&str, &str); 8] = [
    ("config/", "crates/market/*/tests/config.rs and crates/issuer/tests/: by the programs themselves"),
    ("demo/", "crates/demo and crates/market/*/tests: by the demo and the services"),
    ("dev/", "./just check: they run in it"),
    ("docker/", "./just images, and the container ring"),
    ("compose/", "compose.rs"),
    ("kubernetes/", "kubernetes.rs"),
    ("prometheus/", "prometheus.rs"),
    ("systemd/", "systemd.rs"),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_under_deploy_belongs_to_a_folder_whose_reader_is_named() {
    let deploy = crate::deploy();
    let mut found = Vec::new();
    files(&deploy, &mut found);
    let unread: Vec<_> = found
        .iter()
        .filter_map(|path| path.strip_prefix(&deploy).ok())
        .filter(|path| !READ_BY.iter().any(|(folder, _)| path.starts_with(folder)))
        .collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
    for (folder, _) in READ_BY {
        assert!(deploy.join(folder).is_dir(), "{folder} is no more");
    }
}
