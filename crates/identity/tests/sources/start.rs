//! What a start without usable files says: which file, what is wrong, and what mends it; never an octet of a key.

use avouch_attacker::forge::{Authority, Draft, Key};
use avouch_identity::IdentityError;
use avouch_text::with_causes;
use rustls::pki_types::CertificateDer;

use crate::support::files::{Files, certificates, pem, set_mode, write, write_key};
use crate::support::{Ca, domain, id, leaf_params, year};

/// Good files, and the key's PEM text.
fn good() -> (Ca, Files, String) {
    let (ca, files) = (Ca::new(), Files::new());
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    (ca, files, pem("PRIVATE KEY", key.secret_der()))
}

async fn refused(files: &Files) -> String {
    let error = files.start().await.unwrap_err();
    format!("{} / {error:?}", with_causes(&error))
}

#[tokio::test]
async fn what_is_in_the_place_of_the_key_is_named_with_the_command_that_mends_it() {
    let (ca, files, key) = good();
    let octets = avouch_files::pem::private_key(key.as_bytes()).unwrap().secret_der().to_vec();
    let header = "EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    let relabelled = |label: &str| key.replace("PRIVATE KEY", label);
    for (content, words) in [
        (relabelled("ENCRYPTED PRIVATE KEY").into_bytes(), ["encrypted", "openssl pkey -in"]),
        (
            relabelled("EC PRIVATE KEY").replacen("EC PRIVATE KEY-----\n", header, 1).into_bytes(),
            ["encrypted", "openssl pkey -in"],
        ),
        (octets, ["DER", "openssl pkey -inform DER"]),
        (relabelled("PUBLIC KEY").into_bytes(), ["public key", "private key"]),
        (relabelled("OPENSSH PRIVATE KEY").into_bytes(), ["OpenSSH", "ssh-keygen -p"]),
        (certificates(std::slice::from_ref(&ca.root)).into_bytes(), ["a certificate", "exchanged"]),
        (key.replace('\n', " ").into_bytes(), ["line breaks are missing", "line breaks"]),
        (key.replace('\n', "\\n").into_bytes(), ["line breaks are missing", "printf"]),
        (Vec::new(), ["the file is empty", "key.pem"]),
    ] {
        // Others can read it too; but first it is said that it is no key.
        write_key(&files.path("key.pem"), &content, 0o644);
        let said = refused(&files).await;
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert!(!leaks(&key, &said), "{said}");
    }
}

/// Any 16 characters of the key's base64, or 8 of its octets as decimal numbers.
fn leaks(key: &str, said: &str) -> bool {
    let body: String = key.lines().filter(|line| !line.starts_with("---")).collect();
    let numbers = |part: &[u8]| part.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    body.as_bytes().windows(16).any(|part| said.contains(std::str::from_utf8(part).unwrap()))
        || key.as_bytes().windows(8).any(|part| said.contains(&numbers(part)))
}

#[tokio::test]
async fn a_key_that_others_can_reach_is_refused_until_its_mode_is_mended() {
    let (_, files, key) = good();
    for mode in [0o644, 0o640, 0o604, 0o666, 0o602] {
        set_mode(&files.path("key.pem"), mode);
        let error = files.start().await.unwrap_err();
        assert!(matches!(error, IdentityError::KeyOpen { .. }), "{mode:o}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("chmod 0600") && said.contains("does not take back"), "{said}");
        assert!(!leaks(&key, &said), "{said}");
    }
    set_mode(&files.path("key.pem"), 0o400);
    files.start().await.unwrap();
}

#[tokio::test]
async fn certificates_out_of_order_and_of_old_versions_are_named_with_the_mend() {
    let (ca, files, _) = good();
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write_key(&key);
    for order in [vec![1, 0], vec![2, 1, 0]] {
        let all = [chain[0].clone(), chain[1].clone(), ca.root.clone()];
        files.write_chain(&order.iter().map(|at| all[*at].clone()).collect::<Vec<_>>());
        let said = refused(&files).await;
        let place = format!("the leaf must come first; it is certificate {} of the file", order.len());
        assert!(said.contains(&place) && said.contains("svid.pem"), "{said}");
    }
    let authority = Authority::root("an authority", avouch_attacker::now()).unwrap();
    let old_key = Key::generate().unwrap();
    for version in [1, 2] {
        let mut draft = Draft::svid(id("/files").as_str(), &old_key, avouch_attacker::now());
        draft.version = version;
        let old = CertificateDer::from(draft.signed_by(&authority).unwrap());
        files.write(&[old], &old_key.private().unwrap());
        let said = refused(&files).await;
        assert!(said.contains(&format!("X.509 version {version}")) && said.contains("-extfile"), "{said}");
    }
}

#[tokio::test]
async fn a_chain_with_a_stranger_in_it_works_and_one_that_is_not_vouched_for_does_not() {
    let (ca, files, _) = good();
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    let stranger = Ca::new();
    // TLS lets peers sort a chain (RFC 8446 §4.4.2); the log says that some refuse it.
    files.write(&[chain[0].clone(), stranger.root.clone(), chain[1].clone()], &key);
    files.start().await.unwrap();
    files.write_chain(&chain[..1]);
    let said = refused(&files).await;
    assert!(said.contains("CHAIN_INCOMPLETE") && said.contains("bundle.pem"), "{said}");
    files.write_chain(&chain);
    files.write_bundle(&stranger.root);
    let said = refused(&files).await;
    assert!(said.contains("does not vouch") && said.contains("CERT_UNTRUSTED"), "{said}");
}

#[tokio::test]
async fn byte_order_marks_are_read_over_and_no_root_is_lost_by_them() {
    let (ca, files, key) = good();
    let other = Ca::new();
    let marked = |text: &str| format!("\u{feff}{text}");
    let (one, two) =
        (certificates(std::slice::from_ref(&ca.root)), certificates(std::slice::from_ref(&other.root)));
    write(&files.path("bundle.pem"), format!("{}{}", marked(&one), marked(&two)));
    write_key(&files.path("key.pem"), marked(&key), 0o600);
    let chain = std::fs::read_to_string(files.path("svid.pem")).unwrap();
    write(&files.path("svid.pem"), marked(&chain));
    let identity = files.start().await.unwrap();
    let roots = |identity: &avouch_identity::Identity| {
        identity.snapshot().trust.bundles().get(&domain()).unwrap().authorities().len()
    };
    assert_eq!(roots(&identity), 2);
    let json = ca.bundles().get(&domain()).unwrap().to_json();
    write(&files.path("bundle.pem"), marked(&json));
    assert_eq!(roots(&files.start().await.unwrap()), 1);
}

#[tokio::test]
async fn a_bundle_that_is_no_bundle_says_what_it_is() {
    let (ca, files, key) = good();
    let leaf = ca.sign(&leaf_params(id("/other").as_str(), year())).0.swap_remove(0);
    for (content, words) in [
        (key.clone(), "private key"),
        (certificates(&[ca.root.clone(), leaf]), "certificate 2 of the file cannot be a root"),
        (
            certificates(std::slice::from_ref(&ca.root)).replace("-----END CERTIFICATE-----\n", ""),
            "no END of its own",
        ),
        (String::new(), "the file is empty"),
        ("{\"keys\": [".to_owned(), "SPIFFE bundle"),
    ] {
        write(&files.path("bundle.pem"), content);
        let said = refused(&files).await;
        assert!(said.contains(words) && said.contains("bundle.pem"), "{words}: {said}");
        assert!(!leaks(&key, &said), "{said}");
    }
}
