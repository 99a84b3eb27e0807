//! No command without a test that runs it, no alert without its runbook.

use std::path::Path;

use crate::pages;

/// Page, heading, and the test that runs the blocks under it.
const CLAIMS: [(&str, &str, &str); 31] = [
    (
        "README.md",
        "Operations",
        "operations/install_host.rs::a_host_is_installed_started_and_left_by_its_page",
    ),
    (
        "install-host.md",
        "Build and install",
        "operations/install_host.rs::a_host_is_installed_started_and_left_by_its_page",
    ),
    (
        "install-host.md",
        "Start",
        "operations/install_host.rs::a_host_is_installed_started_and_left_by_its_page",
    ),
    (
        "install-host.md",
        "See that it works",
        "operations/install_host.rs::a_host_is_installed_started_and_left_by_its_page",
    ),
    (
        "install-host.md",
        "Take it away",
        "operations/install_host.rs::a_host_is_installed_started_and_left_by_its_page",
    ),
    (
        "install-compose.md",
        "Start",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "install-compose.md",
        "See that it works",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "install-compose.md",
        "What to change",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "install-compose.md",
        "Take it away",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "install-kubernetes.md",
        "Images",
        "operations/kubernetes.rs::the_images_of_the_page_are_built_by_the_script_that_the_ring_uses",
    ),
    (
        "install-kubernetes.md",
        "Start",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    (
        "install-kubernetes.md",
        "See that it works",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    (
        "install-kubernetes.md",
        "Change the configuration",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    (
        "install-kubernetes.md",
        "Take it away",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    (
        "backup.md",
        "On a host",
        "operations/backup.rs::a_lost_issuer_comes_back_with_its_root_and_its_entries",
    ),
    (
        "backup.md",
        "On a host: restore",
        "operations/backup.rs::a_lost_issuer_comes_back_with_its_root_and_its_entries",
    ),
    (
        "backup.md",
        "In Compose",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "backup.md",
        "In Compose: restore",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "backup.md",
        "On Kubernetes",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    ("upgrade.md", "Before", "operations/upgrade.rs::a_host_goes_to_other_programs_and_back"),
    ("upgrade.md", "On a host", "operations/upgrade.rs::a_host_goes_to_other_programs_and_back"),
    (
        "upgrade.md",
        "On a host: the way back",
        "operations/upgrade.rs::a_host_goes_to_other_programs_and_back",
    ),
    (
        "upgrade.md",
        "In Compose",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
    (
        "upgrade.md",
        "On Kubernetes",
        "operations/kubernetes.rs::a_cluster_is_installed_changed_and_left_by_its_page",
    ),
    ("runbooks.md", "denied", "operations/runbooks.rs::denied"),
    ("runbooks.md", "not-renewing", "operations/runbooks.rs::not_renewing"),
    ("runbooks.md", "rotate", "operations/runbooks.rs::rotate"),
    ("runbooks.md", "compromised", "operations/runbooks.rs::compromised"),
    ("runbooks.md", "issuer-lost", "operations/runbooks.rs::issuer_lost"),
    ("capacity.md", "What it costs", "operations/capacity.rs::the_page_states_what_is_measured"),
    (
        "capacity.md",
        "Images",
        "containers/operations.rs::compose_is_installed_backed_up_upgraded_and_left_by_its_pages",
    ),
];

fn all_pages() -> Vec<String> {
    let files = std::fs::read_dir(pages::folder()).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_command_is_run_by_a_test_that_exists() {
    let mut wrong = Vec::new();
    for page in all_pages() {
        for block in pages::blocks(&page) {
            if !CLAIMS.iter().any(|(of, heading, _)| (*of, *heading) == (&*page, &*block.heading)) {
                wrong.push(format!("{page}, {:?}: no test runs\n{}", block.heading, block.commands));
            }
        }
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (page, heading, test) in CLAIMS {
        let (file, name) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(tests.join(file)).unwrap_or_default();
        let asks = format!("\"{page}\", \"{heading}\"");
        if !source.contains(&format!("fn {name}(")) || !source.contains(&asks) {
            wrong.push(format!("{test} does not run {asks}"));
        }
        if !pages::blocks(page).iter().any(|block| block.heading == heading) {
            wrong.push(format!("{page} has no commands under {heading:?} any more"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_parts() {
    let runbooks = pages::text("runbooks.md");
    let rules = std::fs::read_to_string(crate::deploy().join("prometheus/rules/alerts.yml")).unwrap();
    let mut alert = "";
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = name.trim_start_matches("Avouch");
        }
        let Some(anchor) = line.strip_prefix("runbook: docs/operations/runbooks.md#") else { continue };
        let section = runbooks.split("\n## ").find(|section| section.lines().next() == Some(anchor));
        let section = section.unwrap_or_else(|| panic!("{alert}: no section {anchor}"));
        let short = alert.trim_start_matches("Svid");
        assert!(
            section.contains(alert) || section.contains(&format!("-{short}")),
            "{anchor} does not name Avouch{alert}"
        );
    }
    for section in runbooks.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap();
        for part in ["**Symptoms.**", "**Diagnosis.**", "**Action", "**Verification.**"] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
    }
}
