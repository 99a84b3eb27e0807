//! Files that stop whoever reads them without care, and files that are half written or spoilt while a process runs.

use std::path::Path;

use avouch_identity::Identity;
use rustix::fs::{CWD, FileType, mknodat};

use crate::support::files::{
    Files, certificates, no_problem, pem, problem, serial, serial_changes, set_mode, within, write, write_key,
};
use crate::support::{Ca, domain, id, leaf_params, year};

/// What is put in the place of a file, and what is said of it.
type Trap = (fn(&Path), &'static str);

const TRAPS: [Trap; 5] = [
    (|path| mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap(), "FIFO"),
    (|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(), "device"),
    (|path| std::fs::create_dir(path).unwrap(), "directory"),
    (|path| std::fs::File::create(path).unwrap().set_len(2 << 30).unwrap(), "it has more than"),
    (|path| std::os::unix::fs::symlink(path, path).unwrap(), "cannot read"),
];

const FILES: [(&str, &str); 3] =
    [("svid.pem", "certificate"), ("key.pem", "certificate"), ("bundle.pem", "bundle")];

fn good(ca: &Ca) -> Files {
    let files = Files::new().federated("partner", "partner.example");
    files.write_bundle(&ca.root);
    files.write_roots("partner", &[&ca.root]);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    files
}

async fn started(ca: &Ca) -> (Files, Identity, String) {
    let files = good(ca);
    let identity = files.start().await.unwrap();
    let serial = serial(&identity);
    (files, identity, serial)
}

#[tokio::test]
async fn what_is_no_regular_file_or_too_large_stops_neither_a_start_nor_a_process() {
    let ca = Ca::new();
    for (trap, words) in TRAPS {
        for (name, part) in FILES.iter().copied().chain([("partner.pem", "bundle of partner.example")]) {
            let (files, identity, before) = started(&ca).await;
            let path = files.path(name);
            std::fs::remove_file(&path).unwrap();
            trap(&path);
            let told = problem(&identity, part, words).await;
            assert_eq!(told.path, path);
            assert_eq!(serial(&identity), before);
            let outcome = files.start().await;
            assert_eq!(outcome.is_ok(), name == "partner.pem", "{name}: {outcome:?}");
            if let Err(error) = outcome {
                let said = avouch_text::with_causes(&error).to_string();
                assert!(said.contains(words) && said.contains(name), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_emptied_cut_or_spoilt_leaves_the_last_good_one() {
    let ca = Ca::new();
    for (name, part) in FILES {
        let (files, identity, before) = started(&ca).await;
        let path = files.path(name);
        let whole = std::fs::read(&path).unwrap();
        for spoilt in [Vec::new(), whole[..whole.len() / 2].to_vec(), b"no PEM".to_vec(), vec![0; 1000]] {
            if name == "key.pem" {
                write_key(&path, &spoilt, 0o600);
            } else {
                write(&path, &spoilt);
            }
            problem(&identity, part, name).await;
            assert_eq!(serial(&identity), before);
            assert_eq!(identity.snapshot().trust.bundles().get(&domain()).unwrap().authorities().len(), 1);
        }
        // What worked works again, and nothing is said any more.
        let (next, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
        files.write(&next, &key);
        files.write_bundle(&ca.root);
        serial_changes(&identity, &before).await.unwrap();
        no_problem(&identity).await;
    }
}

#[tokio::test]
async fn a_new_key_that_others_can_reach_stays_out_until_its_mode_is_mended() {
    let ca = Ca::new();
    let (files, identity, before) = started(&ca).await;
    let (next, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write_chain(&next);
    write_key(&files.path("key.pem"), pem("PRIVATE KEY", key.secret_der()), 0o644);
    let told = problem(&identity, "certificate", "chmod 0600").await;
    assert_eq!((told.path, serial(&identity)), (files.path("key.pem"), before.clone()));
    set_mode(&files.path("key.pem"), 0o600);
    serial_changes(&identity, &before).await.unwrap();
    no_problem(&identity).await;
}

#[tokio::test]
async fn no_octet_of_a_spoilt_key_is_told() {
    let ca = Ca::new();
    let (files, identity, _) = started(&ca).await;
    let (_, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    let text = pem("PRIVATE KEY", key.secret_der());
    for spoilt in [text.replace('\n', " "), text.replace('\n', "\\n"), text.replacen("-----\n", "-----", 1)] {
        write_key(&files.path("key.pem"), &spoilt, 0o600);
        let told = problem(&identity, "certificate", "line").await;
        let said = format!("{told:?}");
        let body: Vec<u8> = text.lines().nth(1).unwrap().bytes().collect();
        assert!(!body.windows(16).any(|part| said.contains(std::str::from_utf8(part).unwrap())), "{said}");
        write_key(&files.path("key.pem"), "", 0o600);
        problem(&identity, "certificate", "the file is empty").await;
    }
}

#[tokio::test]
async fn a_bundle_that_is_written_slowly_in_place_never_comes_into_use_half() {
    let ca = Ca::new();
    let files = good(&ca);
    let identity = files.start().await.unwrap();
    let partner = "partner.example".parse().unwrap();
    let mut states = identity.subscribe();
    let roots: Vec<_> = (0..8).map(|_| Ca::new().root).collect();
    // Truncated and written anew a root at a time, as `>` does it: at each moment it is a bundle, of fewer roots. Faster
    // than it is looked at, by the same runtime, so that no two looks fall between two writes.
    let mut file = std::fs::File::create(files.path("partner.pem")).unwrap();
    for root in &roots {
        std::io::Write::write_all(&mut file, certificates(std::slice::from_ref(root)).as_bytes()).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(6)).await;
    }
    let whole = states
        .wait_for(|state| state.trust.bundles().get(&partner).unwrap().authorities().len() == roots.len());
    within(whole).await.unwrap();
    assert_eq!(identity.snapshot().generation, 2, "half of it was in use in between");
}
