//! The certificate commands as a shell sees them: none of them needs an issuer.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use avouch_testkit::program::alone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A directory with `chain.pem` (leaf and root), `leaf.pem`, `ca.pem`, `key.pem` and `other-key.pem`.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let uri = |uri: &str| vec![SanType::URI(uri.to_owned().try_into().unwrap())];
        let mut ca = CertificateParams::default();
        ca.distinguished_name = DistinguishedName::new();
        ca.distinguished_name.push(DnType::CommonName, "root");
        ca.subject_alt_names = uri("spiffe://market.example");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate().unwrap();
        let root = ca.self_signed(&ca_key).unwrap();
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = DistinguishedName::new();
        leaf.subject_alt_names = uri("spiffe://market.example/orders");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let svid = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let files = Self { directory };
        files.write("chain.pem", format!("{}{}", svid.pem(), root.pem()));
        files.write("leaf.pem", svid.pem());
        files.write("leaf.der", svid.der());
        files.write("ca.pem", root.pem());
        files.write("key.pem", key.serialize_pem());
        files.write("other-key.pem", KeyPair::generate().unwrap().serialize_pem());
        files.write("password", "correct horse ä\nsecond line\n");
        let bundle =
            avouch_spiffe::Bundle::from_ders("market.example".parse().unwrap(), &[root.der()], 7).unwrap();
        files.write("bundle.json", bundle.to_json());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Runs `avouch cert …` in the directory.
    fn cert(&self, words: &[&str]) -> Output {
        self.run(&[&["cert"], words].concat())
    }

    /// Runs `avouch …` in the directory.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = alone(env!("CARGO_BIN_EXE_avouch"), self.directory.path());
        command.current_dir(self.directory.path()).args(words).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_chain_is_inspected_as_one_and_against_a_bundle() {
    let files = Files::new();
    for bundle in ["ca.pem", "bundle.json"] {
        let output = files.cert(&["inspect", "chain.pem", "--bundle", bundle]);
        let text = out(&output);
        assert_eq!(output.status.code(), Some(0), "{text}{}", err(&output));
        assert!(text.contains("each signature is by the key above"), "{text}");
        assert!(text.contains("the bundle vouches for it") && !text.contains("FAIL"), "{text}");
    }
    let stranger = Files::new();
    let foreign = stranger.path("ca.pem").display().to_string();
    let output = files.cert(&["inspect", "chain.pem", "--bundle", &foreign]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("CERT_UNTRUSTED"), "{}", out(&output));
    // The wrong root above the leaf is said by the chain's own items.
    let mixed =
        [std::fs::read(files.path("leaf.pem")).unwrap(), std::fs::read(stranger.path("ca.pem")).unwrap()];
    files.write("mixed.pem", mixed.concat());
    let output = files.cert(&["inspect", "mixed.pem", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let failed: Vec<_> =
        value[2]["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert_eq!((output.status.code(), value[2]["kind"].as_str()), (Some(1), Some("chain")));
    assert!(failed.iter().any(|check| check["id"] == "AV-033"), "{failed:?}");
}

#[test]
fn a_bundle_is_inspected_with_its_sequence_and_its_authorities() {
    let files = Files::new();
    let output = files.cert(&["inspect", "bundle.json"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("sequence       7") && text.contains("signing certificate"), "{text}");
}

#[test]
fn a_file_wins_over_a_host_of_the_same_name() {
    let files = Files::new();
    std::fs::copy(files.path("leaf.pem"), files.path("localhost:1")).unwrap();
    let output = files.cert(&["inspect", "localhost:1"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("spiffe://market.example/orders"));
}

#[test]
fn lint_says_one_finding_a_line_and_fails_on_errors_alone() {
    let files = Files::new();
    let output = files.cert(&["lint", "chain.pem"]);
    let text = out(&output);
    // What the library dates until 4096 is the warning.
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.lines().any(|line| line.starts_with("chain.pem:1: warning: AV-066 ")), "{text}");
    let twice = files.cert(&["lint", "leaf.pem", "ca.pem", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out(&twice)).unwrap();
    assert!(value.as_array().unwrap().iter().all(|finding| finding["severity"] != "error"), "{value}");
    files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let output = files.cert(&["lint", "broken.pem"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).starts_with("broken.pem:1: error: AV-000 "), "{}", out(&output));
}

#[test]
fn the_exit_status_says_whether_it_is_time_to_renew_and_a_broken_file_is_neither() {
    let files = Files::new();
    for (words, code) in [
        (&["needs-renewal", "leaf.pem"][..], 1),
        (&["needs-renewal", "leaf.pem", "--within", "100%"], 0),
        (&["needs-renewal", "none.pem"], 2),
        (&["needs-renewal", "key.pem"], 2),
        (&["needs-renewal", "leaf.pem", "--within", "1"], 2),
    ] {
        let output = files.cert(words);
        assert_eq!(
            (output.status.code(), out(&output).as_str()),
            (Some(code), ""),
            "{words:?}: {}",
            err(&output)
        );
        assert_eq!(err(&output).is_empty(), code != 2, "quiet unless wrong: {words:?}");
    }
}

#[test]
fn certificates_go_through_every_form_and_come_back_the_same() {
    let files = Files::new();
    let pem = std::fs::read_to_string(files.path("leaf.pem")).unwrap().replace("\r\n", "\n");
    let output = files.cert(&["convert", "leaf.pem", "--to", "der", "--out", "new.der"]);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(std::fs::read(files.path("new.der")).unwrap(), std::fs::read(files.path("leaf.der")).unwrap());
    assert_eq!(out(&files.cert(&["convert", "new.der", "--to", "pem"])), pem);
    let bundle = std::fs::read_to_string(files.path("ca.pem")).unwrap().replace("\r\n", "\n");
    assert_eq!(out(&files.cert(&["convert", "bundle.json", "--to", "pem"])), bundle);
    let output = files.cert(&["convert", "chain.pem", "--to", "der", "--out", "chain.der"]);
    assert!(
        output.status.code() == Some(1) && err(&output).contains("a DER file holds one"),
        "{}",
        err(&output)
    );
}

#[test]
fn nothing_is_overwritten_unasked_and_nothing_is_left_half() {
    let files = Files::new();
    files.write("out", "old");
    let before = files.names();
    let refused = files.cert(&["convert", "leaf.pem", "--to", "pem", "--out", "out"]);
    assert!(refused.status.code() == Some(1) && err(&refused).contains("--force"), "{}", err(&refused));
    let foreign = ["convert", "leaf.pem", "--to", "pem", "--key", "other-key.pem", "--out", "new"];
    let refused = files.cert(&foreign);
    assert!(refused.status.code() == Some(1) && err(&refused).contains("does not fit"), "{}", err(&refused));
    assert_eq!((files.names(), std::fs::read(files.path("out")).unwrap()), (before, b"old".to_vec()));
    assert!(files.cert(&["convert", "leaf.pem", "--to", "pem", "--out", "out", "--force"]).status.success());
    assert_eq!(std::fs::read(files.path("out")).unwrap(), std::fs::read(files.path("leaf.pem")).unwrap());
}

#[test]
fn a_key_goes_into_a_file_of_its_owners_alone_even_over_one_of_everybodys() {
    let files = Files::new();
    files.write("out", "old");
    std::fs::set_permissions(files.path("out"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let words = ["convert", "leaf.pem", "--to", "pem", "--key", "key.pem", "--out", "out", "--force"];
    let output = files.cert(&words);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", err(&output));
    let text = std::fs::read_to_string(files.path("out")).unwrap();
    assert!(
        text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.contains("BEGIN CERTIFICATE"),
        "{text}"
    );
    assert_eq!(mode(&files.path("out")), 0o600);
    let inspected = files.cert(&["inspect", "out"]);
    assert!(out(&inspected).contains("private key beside") && !out(&inspected).contains("PRIVATE KEY"));
}

fn openssl(files: &Files, words: &[&str]) -> Option<Output> {
    Command::new("openssl").current_dir(files.directory.path()).args(words).output().ok()
}

#[test]
fn openssl_reads_the_archive_with_the_password_alone() {
    let files = Files::new();
    let words = ["convert", "chain.pem", "--to", "pkcs12", "--password-file", "password", "--key", "key.pem"];
    let output = files.cert(&[&words[..], &["--out", "svid.p12"]].concat());
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(mode(&files.path("svid.p12")), 0o600);
    let archive = std::fs::read(files.path("svid.p12")).unwrap();
    let leaf = std::fs::read(files.path("leaf.der")).unwrap();
    assert!(
        !archive.windows(32).any(|window| leaf.windows(32).any(|part| part == window)),
        "it is encrypted"
    );
    assert!(err(&files.cert(&["inspect", "svid.p12"])).contains("openssl pkcs12 -in svid.p12 -nokeys"));

    let read =
        |password: &str| openssl(&files, &["pkcs12", "-in", "svid.p12", "-nodes", "-passin", password]);
    let Some(read_well) = read("pass:correct horse ä") else { return }; // there is no openssl here
    let text = out(&read_well);
    assert!(read_well.status.success(), "{}", err(&read_well));
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    assert!(text.contains("friendlyName: spiffe://market.example/orders"), "{text}");
    let body = |pem: &str| pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    let key = std::fs::read_to_string(files.path("key.pem")).unwrap();
    let (_, found) = text.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    let (found, _) = found.split_once("-----END").unwrap();
    assert_eq!(body(found), body(&key));
    assert!(!read("pass:correct horse").unwrap().status.success(), "another password");
}

#[test]
fn keys_of_older_forms_go_into_an_archive_too() {
    let files = Files::new();
    let Some(made) = openssl(&files, &["ec", "-in", "key.pem", "-out", "sec1.pem"]) else { return };
    assert!(made.status.success(), "{}", err(&made));
    assert!(std::fs::read_to_string(files.path("sec1.pem")).unwrap().contains("BEGIN EC PRIVATE KEY"));
    let words = ["convert", "leaf.pem", "--to", "pkcs12", "--password-file", "password", "--key", "sec1.pem"];
    let output = files.cert(&[&words[..], &["--out", "svid.p12"]].concat());
    assert!(output.status.success(), "{}", err(&output));
    let check = [
        "pkcs12",
        "-in",
        "svid.p12",
        "-nodes",
        "-nocerts",
        "-passin",
        "pass:correct horse ä",
        "-out",
        "again.pem",
    ];
    assert!(openssl(&files, &check).unwrap().status.success());
    let public = |file| openssl(&files, &["pkey", "-in", file, "-pubout"]).unwrap().stdout;
    assert!(!public("again.pem").is_empty() && public("again.pem") == public("key.pem"));
}

#[test]
fn an_archive_without_a_password_is_not_written() {
    let files = Files::new();
    files.write("empty", "\nsecond\n");
    let words = ["convert", "chain.pem", "--to", "pkcs12", "--password-file", "empty", "--out", "svid.p12"];
    let output = files.cert(&words);
    assert!(output.status.code() == Some(1) && err(&output).contains("no password"), "{}", err(&output));
    assert!(!files.path("svid.p12").exists());
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let inner = parts.concat();
    let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, &inner].concat()
}

/// A certificate of version 1 for a key, as `openssl x509 -req` writes one without -extfile: no version, no extensions.
fn version_1(key: &KeyPair) -> Vec<u8> {
    use rcgen::{PublicKeyData as _, SigningKey as _};
    let short = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()][..], inner].concat();
    let algorithm = short(0x30, &short(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let name = |text: &str| {
        let attribute = [short(0x06, &[0x55, 4, 3]), short(0x0c, text.as_bytes())].concat();
        short(0x30, &short(0x31, &short(0x30, &attribute)))
    };
    let dates = short(0x30, &[short(0x17, b"260101000000Z"), short(0x17, b"360101000000Z")].concat());
    let spki = key.subject_public_key_info();
    let serial = short(0x02, &[0x4d; 8]);
    let tbs = tlv(0x30, &[&serial, &algorithm, &name("old authority"), &dates, &name("orders"), &spki]);
    let signature = [&[0][..], &key.sign(&tbs).unwrap()].concat();
    tlv(0x30, &[&tbs, &algorithm, &tlv(0x03, &[&signature])])
}

#[test]
fn a_certificate_of_version_1_is_shown_fails_with_the_fix_and_its_end_still_counts() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let der = version_1(&key);
    files.write("v1.der", &der);
    files.write("v1.pem", avouch_files::pem::encode("CERTIFICATE", &der));
    files.write("v1.key", key.serialize_pem());
    for file in ["v1.pem", "v1.der"] {
        let output = files.cert(&["inspect", file]);
        let text = out(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in ["CN=orders", "CN=old authority", "4d4d4d4d4d4d4d4d", "2036-01-01", "version    1\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("cannot carry a SPIFFE ID") && text.contains("-extfile"), "{text}");
        let output = files.cert(&["lint", file, "--json"]);
        let found: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        let errors: Vec<_> =
            found.as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").collect();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors.len() == 1 && errors[0]["id"] == "AV-013", "{found}");
        assert_eq!(files.cert(&["needs-renewal", file, "--within", "1d"]).status.code(), Some(1));
        assert_eq!(files.cert(&["needs-renewal", file, "--within", "100%"]).status.code(), Some(0));
    }
    assert!(files.cert(&["convert", "v1.pem", "--to", "der", "--out", "again.der"]).status.success());
    assert_eq!(std::fs::read(files.path("again.der")).unwrap(), der);
    let words = ["convert", "v1.der", "--to", "pem", "--out", "both.pem", "--key"];
    let output = files.cert(&[&words[..], &["key.pem"]].concat());
    assert!(err(&output).contains("does not fit"), "{}", err(&output));
    assert!(files.cert(&[&words[..], &["v1.key"]].concat()).status.success());
}

#[test]
fn a_chain_out_of_order_is_named_with_the_right_one() {
    let files = Files::new();
    let read = |name| std::fs::read_to_string(files.path(name)).unwrap();
    files.write("reversed.pem", read("ca.pem") + &read("leaf.pem"));
    let output = files.cert(&["inspect", "reversed.pem"]);
    let text = out(&output);
    let problem = "the intermediate (spiffe://market.example) is before the leaf (spiffe://market.example/orders), and the \
                   leaf must come first; write the certificates in the order 2, 1";
    assert!(output.status.code() == Some(1) && text.contains(problem), "{text}");
    assert_eq!(text.matches("FAIL").count(), 1, "{text}");
    let output = files.cert(&["lint", "reversed.pem"]);
    let text = out(&output);
    assert!(
        output.status.code() == Some(1) && text.contains("error: AV-031") && text.contains(problem),
        "{text}"
    );
    for (within, code) in [("1d", 1), ("100%", 0)] {
        assert_eq!(
            files.cert(&["needs-renewal", "reversed.pem", "--within", within]).status.code(),
            Some(code)
        );
    }
    std::fs::create_dir(files.path("identity")).unwrap();
    files.write("identity/svid.pem", read("reversed.pem") + &read("key.pem"));
    let output = files.run(&["handshake", "127.0.0.1:1", "--identity", "identity"]);
    assert!(output.status.code() == Some(1) && err(&output).contains(problem), "{}", err(&output));
    // Roots side by side are no chain.
    let stranger = std::fs::read_to_string(Files::new().path("ca.pem")).unwrap();
    files.write("roots.pem", stranger + &read("ca.pem"));
    assert!(!out(&files.cert(&["inspect", "roots.pem"])).contains("\nchain"));
}

#[test]
fn byte_order_marks_are_read_over_by_every_command() {
    let files = Files::new();
    let read = |name| std::fs::read_to_string(files.path(name)).unwrap();
    let (chain, bundle, key) = (read("chain.pem"), read("bundle.json"), read("key.pem"));
    files.write("marked.pem", format!("\u{feff}{}\u{feff}{}", read("leaf.pem"), read("ca.pem")));
    files.write("marked.json", format!("\u{feff}{bundle}"));
    files.write("marked.key", format!("\u{feff}{key}"));
    files.write("marked.password", "\u{feff}correct horse\r\n");
    for bundle in ["marked.json", "marked.pem"] {
        files.write("roots.pem", format!("\u{feff}{}", read("ca.pem")));
        let bundle = if bundle == "marked.pem" { "roots.pem" } else { bundle };
        let output = files.cert(&["inspect", "marked.pem", "--bundle", bundle]);
        assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
        assert!(out(&output).contains("certificate 2 of 2"), "{}", out(&output));
    }
    assert_eq!(files.cert(&["inspect", "marked.json"]).status.code(), Some(0));
    assert_eq!(files.cert(&["lint", "marked.pem"]).status.code(), Some(0));
    assert_eq!(files.cert(&["needs-renewal", "marked.pem"]).status.code(), Some(1));
    let words = ["convert", "marked.pem", "--to", "pem", "--key", "marked.key", "--out", "out.pem"];
    let output = files.cert(&words);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(read("out.pem"), key.replace("\r\n", "\n") + &chain.replace("\r\n", "\n"));
    let words =
        ["convert", "leaf.pem", "--to", "pkcs12", "--password-file", "marked.password", "--out", "out.p12"];
    assert!(files.cert(&words).status.success());
    let words = ["pkcs12", "-in", "out.p12", "-nodes", "-passin", "pass:correct horse"];
    assert!(
        openssl(&files, &words).is_none_or(|output| output.status.success()),
        "the mark is in the password"
    );
}

#[test]
fn what_is_in_the_place_of_a_certificate_or_key_is_named_with_its_mend() {
    let files = Files::new();
    let key = std::fs::read_to_string(files.path("key.pem")).unwrap();
    let body: String = key.lines().filter(|line| !line.starts_with("---")).collect();
    let der = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(&body).unwrap()
    };
    let relabelled = |label: &str| key.replace("PRIVATE KEY", label).into_bytes();
    let chain = std::fs::read_to_string(files.path("chain.pem")).unwrap();
    for (content, of_certificate, of_key) in [
        (key.clone().into_bytes(), "a private key and no certificate", ""),
        (relabelled("ENCRYPTED PRIVATE KEY"), "an encrypted private key", "openssl pkey -in odd -out"),
        (relabelled("OPENSSH PRIVATE KEY"), "OpenSSH's form", "ssh-keygen -p"),
        (relabelled("PUBLIC KEY"), "a public key", "the private key that it was made from"),
        (der, "a private key in DER", "openssl pkey -inform DER -in odd"),
        (chain.clone().into_bytes(), "", "are certificate and key exchanged?"),
        (key.replace('\n', " ").into_bytes(), "line breaks are missing", "line breaks are missing"),
        (key.replace('\n', "\\n").into_bytes(), "line breaks are missing", "printf"),
        (body.clone().into_bytes(), "base64 without its BEGIN", "base64 without its BEGIN"),
        (chain.encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16", "iconv"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02".to_vec(), "Java key store", "keytool"),
        (
            chain.replacen("-----END CERTIFICATE-----", "", 1).into_bytes(),
            "has no END of its own",
            "has no END",
        ),
        (b"".to_vec(), "the file is empty", "the file is empty"),
        (b"hello".to_vec(), "text without a BEGIN line", "text without a BEGIN line"),
    ] {
        files.write("odd", &content);
        for command in [
            &["inspect", "odd"][..],
            &["lint", "odd"],
            &["convert", "odd", "--to", "pem"],
            &["needs-renewal", "odd"],
        ] {
            let output = files.cert(command);
            let fails = !of_certificate.is_empty();
            assert!(
                !fails || output.status.code() == Some(if command[0] == "needs-renewal" { 2 } else { 1 })
            );
            assert!(err(&output).contains(of_certificate), "{command:?} {of_certificate}: {}", err(&output));
        }
        let output =
            files.cert(&["convert", "leaf.pem", "--to", "pem", "--out", "new", "--force", "--key", "odd"]);
        assert_eq!(output.status.success(), of_key.is_empty(), "{}", err(&output));
        assert!(err(&output).contains(of_key), "{of_key}: {}", err(&output));
    }
    // What a key is as a key is said where it is looked into.
    files.write("odd", relabelled("ENCRYPTED PRIVATE KEY"));
    let text = err(&files.cert(&["inspect", "odd"]));
    assert!(text.contains("to use it as a key: `openssl pkey -in odd -out KEY.pem`"), "{text}");
}

#[test]
fn a_damaged_block_is_named_with_its_line_and_the_good_ones_are_shown() {
    let files = Files::new();
    let read = |name| std::fs::read_to_string(files.path(name)).unwrap();
    let damaged = read("ca.pem").replacen("\nMI", "\nM*", 1).replacen("\r\nMI", "\r\nM*", 1);
    files.write("damaged.pem", read("leaf.pem") + &damaged);
    let line = read("leaf.pem").lines().count() + 1;
    let problem = format!("a certificate (line {line}) is not base64: it is damaged");
    let output = files.cert(&["inspect", "damaged.pem"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("certificate 1 of 1: X.509-SVID") && text.contains(&problem), "{text}");
    let output = files.cert(&["inspect", "damaged.pem", "--json"]);
    assert!(out(&output).contains(&problem) && out(&output).contains("\"kind\": \"not readable\""));
    for words in [
        &["lint", "damaged.pem"][..],
        &["convert", "damaged.pem", "--to", "pem"],
        &["needs-renewal", "damaged.pem"],
        &["inspect", "leaf.pem", "--bundle", "damaged.pem"],
    ] {
        let output = files.cert(words);
        assert!(!output.status.success() && out(&output).is_empty(), "{words:?}: {}", out(&output));
        assert!(err(&output).contains(&problem), "{words:?}: {}", err(&output));
    }
}

#[test]
fn pipes_are_read_and_devices_refused() {
    let files = Files::new();
    let avouch = env!("CARGO_BIN_EXE_avouch");
    let script = format!(
        "{avouch} cert convert <(cat leaf.pem) --key <(cat key.pem) --to pkcs12 --password-file <(cat password) --out o.p12"
    );
    let output = Command::new("bash").current_dir(files.directory.path()).args(["-c", &script]).output();
    let Ok(output) = output else { return }; // there is no bash here
    assert!(output.status.success(), "{}", err(&output));
    let output = files.cert(&["inspect", "/dev/zero"]);
    assert!(err(&output).contains("it is a device"), "{}", err(&output));
}

#[test]
fn a_key_is_not_written_where_anybody_may_replace_it() {
    let files = Files::new();
    let open = files.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let words = ["convert", "leaf.pem", "--to", "pem", "--out", "open/out.pem"];
    let output = files.cert(&[&words[..], &["--key", "key.pem"]].concat());
    assert!(output.status.code() == Some(1) && err(&output).contains("chmod o-w"), "{}", err(&output));
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    assert!(files.cert(&words).status.success(), "what is no secret may lie there");
}

/// Two roots of one name, as there are in the middle of a rotation, and a third; in one file.
fn three_roots(files: &Files) {
    let mut pem = std::fs::read_to_string(files.path("ca.pem")).unwrap();
    for name in ["root", "ROOT"] {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        pem += &params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    }
    files.write("roots.pem", pem);
}

#[test]
fn java_sees_an_entry_for_each_root_of_an_archive_even_if_their_names_differ_in_case_only() {
    let files = Files::new();
    three_roots(&files);
    files.write("java-password", "correct horse");
    let words = ["convert", "roots.pem", "--to", "pkcs12", "--password-file", "java-password"];
    let output = files.cert(&[&words[..], &["--out", "roots.p12"]].concat());
    assert!(output.status.success(), "{}", err(&output));
    let listed = Command::new("keytool")
        .current_dir(files.directory.path())
        .args(["-J-Dfile.encoding=UTF-8", "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12"])
        .args(["-keystore", "roots.p12", "-storepass:file", "java-password"])
        .output();
    let Ok(listed) = listed else {
        eprintln!("SKIPPED: there is no keytool here; the attribute itself has a test of its own");
        return;
    };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success(), "{text}{}", err(&listed));
    assert!(text.contains("contains 3 entries"), "{text}");
    assert_eq!(text.matches("Entry type: trustedCertEntry").count(), 3, "{text}");
    assert!(text.contains("Alias name: spiffe://market.example "), "{text}");
}

#[test]
fn a_leaf_without_its_key_is_no_entry_that_java_trusts() {
    let files = Files::new();
    let words =
        ["convert", "chain.pem", "--to", "pkcs12", "--password-file", "password", "--out", "chain.p12"];
    let output = files.cert(&words);
    assert!(output.status.success(), "{}", err(&output));
    let words = ["pkcs12", "-in", "chain.p12", "-nokeys", "-passin", "pass:correct horse ä"];
    let Some(read) = openssl(&files, &words) else { return }; // there is no openssl here
    let text = out(&read);
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    assert_eq!(text.matches("2.16.840.1.113894.746875.1.1").count(), 1, "{text}");
}
