//! `install-kubernetes.md`, and what other pages say of Kubernetes. No cluster is asked: see the stand-in.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::pages::section;
use crate::stage::Stage;

const SERVICES: [&str; 6] = ["inventory", "ledger", "orders", "payments", "reports", "storefront"];

#[test]
fn a_cluster_is_installed_changed_and_left_by_its_page() {
    if !crate::deploy().join("../target/tools/kubernetes/bin/kubectl").is_file() {
        eprintln!("!! SKIPPED: no kubectl under target/tools, the overlays of the page were not rendered");
    }
    let stage = Stage::new();
    stage.run("systemctl enable --now avouch-issuer.service");
    let start = section("install-kubernetes.md", "Start", 2);
    let started = stage.run(&start[0]);
    for name in SERVICES {
        assert!(started.contains(&format!("✓ {name} is ready")), "{started}");
    }
    let applied = stage.run("cat \"$ROOT/applied.yaml\"");
    assert_eq!(applied.matches("avjt1.").count(), 7, "a token for each pod");
    let entry = stage.run("avouch entry show spiffe://market.example/storefront");
    assert!(entry.contains("shop.example"), "{entry}");
    let again = stage.run(&start[1]);
    assert!(again.contains("✓ storefront is ready") && !again.contains("orders"), "{again}");

    let seen = stage.run(&section("install-kubernetes.md", "See that it works", 1)[0]);
    let operator = "√ AV-502  there is an identity to ask workloads with: spiffe://market.example/operator";
    assert!(seen.contains(operator), "{seen}");
    stage.run(&section("install-kubernetes.md", "Change the configuration", 1)[0]);
    section("backup.md", "On Kubernetes", 2).iter().for_each(|block| drop(stage.run(block)));
    section("upgrade.md", "On Kubernetes", 3).iter().for_each(|block| drop(stage.run(block)));
    stage.run(&section("install-kubernetes.md", "Take it away", 1)[0]);
    let told = stage.run("cat \"$ROOT/kubectl.calls\"");
    assert!(!told.contains("avjt1."), "a token is on a command line: {told}");
}

/// Cargo has built; the engine takes what it is given.
const CARGO: &str = "#!/bin/sh\nprintf 'cargo %s\\n' \"$*\" >>\"$SEEN\"\n";
const DOCKER: &str = r#"#!/bin/sh
printf 'docker %s\n' "$*" >>"$SEEN"
case "$1 $2" in 'image inspect') exit 1 ;; esac
"#;

#[test]
fn the_images_of_the_page_are_built_by_the_script_that_the_ring_uses() {
    let commands = section("install-kubernetes.md", "Images", 1).remove(0);
    let temp = tempfile::tempdir().unwrap();
    let built = temp.path().join("target/release");
    std::fs::create_dir_all(&built).unwrap();
    let table = std::fs::read_to_string(crate::deploy().join("docker/images")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let services: Vec<_> = rows.iter().filter(|row| row.last() == Some(&"service")).collect();
    for program in services.iter().flat_map(|row| row[1].split(',')) {
        std::fs::write(built.join(format!("static-{program}")), program).unwrap();
    }
    for (name, script) in [("cargo", CARGO), ("docker", DOCKER)] {
        std::fs::write(temp.path().join(name), script).unwrap();
        std::fs::set_permissions(temp.path().join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let seen = temp.path().join("seen");
    let path = format!("{}:{}", temp.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(crate::deploy().join(".."))
        .env("PATH", path)
        .env("SEEN", &seen)
        .env("CARGO_TARGET_DIR", temp.path().join("target"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("--profile release"), "{seen}");
    assert_eq!(services.len(), 7);
    for row in services {
        assert!(seen.contains(&format!("--build-arg NAME={} ", row[0])), "{seen}");
    }
}
