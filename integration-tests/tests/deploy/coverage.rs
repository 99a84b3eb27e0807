//! No file under `deploy/` without a test that reads it.

#![expect(clippy::panic, reason = "helpers of tests, outside of any test function")]

use std::path::{Path, PathBuf};

/// Which test reads a file of `deploy/`. A star stands for the name of one of many that are read alike.
const READ_BY: [(&str, &str); 36] = [
    (
        "config/*.toml",
        "the programs themselves: crates/market/*/tests/config.rs, crates/issuer/tests/config.rs, and in every place",
    ),
    ("config/kustomization.yaml", "kubernetes.rs, by kustomize"),
    ("demo/issuer.toml", "crates/issuer/tests/config.rs"),
    ("demo/services.toml", "crates/market/*/tests/config.rs"),
    ("demo/kustomization.yaml", "kubernetes.rs, by kustomize"),
    ("demo/expected.json", "crates/demo, and containers/happy_path.rs"),
    ("demo/matrix.txt", "crates/market/api/tests/matrix.rs"),
    ("demo/order.json", "crates/demo"),
    ("demo/orders.jsonl", "crates/demo, and containers/happy_path.rs"),
    ("demo/policy.toml", "crates/market/api/tests/matrix.rs"),
    ("demo/stock.toml", "crates/market/inventory"),
    ("dev/fuzz", "./just fuzz"),
    ("dev/gate", "./just check"),
    ("dev/new", "./just check, by dev/try-new"),
    ("dev/skew", "./just skew"),
    ("dev/step", "./just check"),
    ("dev/template/*", "./just check, by dev/try-new"),
    ("dev/try-new", "./just check"),
    ("docker/Dockerfile", "docker.rs, and the container ring"),
    ("docker/Dockerfile.source", "docker.rs"),
    ("docker/build-images.sh", "docker.rs, and the container ring"),
    ("docker/images", "docker.rs, and the container ring"),
    ("docker/programs/Cargo.toml", "docker.rs, and the container ring"),
    ("compose/compose", "containers/compose.rs"),
    ("compose/compose.yaml", "compose.rs"),
    ("compose/.env", "compose.rs, and Compose"),
    ("compose/place/*.toml", "compose.rs, by the programs themselves"),
    ("kubernetes/README.md", "people"),
    ("kubernetes/join.sh", "kubernetes.rs"),
    ("kubernetes/base/*.toml", "kubernetes.rs, by the programs themselves"),
    ("kubernetes/base/*.yaml", "kubernetes.rs, by kustomize and the published schemas"),
    ("kubernetes/overlays/*.yaml", "kubernetes.rs, by kustomize and the published schemas"),
    ("prometheus/*.yml", "prometheus.rs, by promtool"),
    ("systemd/config/*.toml", "systemd.rs, by the programs themselves"),
    ("systemd/install", "systemd.rs"),
    ("systemd/*", "systemd.rs, by systemd-analyze and systemd"),
];

fn reads(pattern: &str, file: &str) -> bool {
    match pattern.split_once('*') {
        None => file == pattern,
        Some((start, end)) => file.starts_with(start) && file.ends_with(end),
    }
}

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
fn every_file_under_deploy_is_read_by_a_test_that_is_named_here() {
    let deploy = crate::deploy();
    let mut found = Vec::new();
    files(&deploy, &mut found);
    let found: Vec<String> = found
        .iter()
        .filter_map(|path| Some(path.strip_prefix(&deploy).ok()?.to_string_lossy().into_owned()))
        .collect();
    let read = |file: &&String| READ_BY.iter().any(|(pattern, _)| reads(pattern, file));
    let unread: Vec<_> = found.iter().filter(|file| !read(file)).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
    for (pattern, _) in READ_BY {
        assert!(found.iter().any(|file| reads(pattern, file)), "{pattern} is no more");
    }
}
