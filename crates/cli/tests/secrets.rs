//! Keys, tokens and passwords in files that are damaged, or in the place of something else: no command shows octets of
//! them, in whatever encoding, and each that fails says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

use avouch_testkit::program::alone;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Output, Stdio};

/// As many octets of a secret in a row are a leak.
const LEAK: usize = 16;

/// What a secret looks like where it has leaked: every sixteen octets of it, as they are and in every encoding that an
/// error might show them in.
struct Needles(BTreeSet<String>);

impl Needles {
    fn of(secret: &[u8]) -> Self {
        let mut needles = BTreeSet::new();
        for part in secret.windows(LEAK) {
            let joined = |between: &str, show: fn(&u8) -> String| {
                part.iter().map(show).collect::<Vec<_>>().join(between)
            };
            for between in [", ", ",", " ", ""] {
                needles.insert(joined(between, u8::to_string));
            }
            for between in ["", ":", " ", "\\x", ", "] {
                needles.insert(joined(between, |octet| format!("{octet:02x}")));
                needles.insert(joined(between, |octet| format!("{octet:02X}")));
            }
            needles.insert(joined(", ", |octet| format!("0x{octet:02x}")));
            needles.insert(part.escape_ascii().to_string());
            needles.extend(String::from_utf8(part.to_vec()));
        }
        // Base64 looks different by where it begins.
        for skip in 0..3 {
            for text in [STANDARD_NO_PAD.encode(&secret[skip..]), URL_SAFE_NO_PAD.encode(&secret[skip..])] {
                let octets =
                    text.as_bytes().windows(LEAK).map(|part| String::from_utf8(part.to_vec()).unwrap());
                needles.extend(octets);
            }
        }
        Self(needles)
    }

    /// A key: its DER, and the base64 of its PEM form line by line and in one.
    fn of_key(key: &rcgen::KeyPair) -> Self {
        let mut all = Self::of(key.serialized_der());
        let body: String = key.serialize_pem().lines().filter(|line| !line.starts_with("---")).collect();
        all.0.extend(Self::of(body.as_bytes()).0);
        all
    }

    /// What of the secret is in the text, whether in one line or broken into several.
    fn find(&self, text: &str) -> Option<&str> {
        let text: String = text.chars().filter(|c| !matches!(c, '\0' | '\u{fffd}')).collect();
        let flat: String = text.chars().filter(|c| !matches!(c, '\n' | '│' | '|')).collect();
        self.0.iter().find(|needle| text.contains(*needle) || flat.contains(*needle)).map(String::as_str)
    }
}

#[test]
fn a_secret_is_found_in_every_encoding() {
    let secret: Vec<u8> = (100..150).collect();
    let needles = Needles::of(&secret);
    for text in [
        format!("got {:?}", &secret[7..30]),
        format!("got {:02x?}", &secret[7..30]),
        STANDARD_NO_PAD.encode(&secret[1..40]),
        STANDARD_NO_PAD.encode(&secret[2..40]),
        String::from_utf8_lossy(&secret[..28]).into_owned(),
        secret[3..25].escape_ascii().to_string(),
        secret[..20].iter().map(|octet| format!("{octet:02X}:")).collect(),
    ] {
        assert!(needles.find(&format!("error: {text}, no more")).is_some(), "{text}");
    }
    assert_eq!(needles.find(&format!("{:?}", &secret[..15])), None);
}

/// Every way in which a file of text is damaged on its way: each a name and what is in the file then.
fn damaged(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let flipped = |at: usize| {
        let mut octets = text.as_bytes().to_vec();
        let at = at.min(octets.len() - 1);
        octets[at] ^= 0x81;
        octets
    };
    let half = text.len() / 2;
    vec![
        ("good", text.into()),
        ("line breaks become blanks", text.replace('\n', " ").into()),
        ("line breaks are escaped", text.replace('\n', "\\n").into()),
        ("line breaks are lost", text.replace('\n', "").into()),
        ("quoted as JSON", serde_json::to_vec(text).unwrap()),
        ("JSON of a secret", serde_json::to_vec(&serde_json::json!({ "data": text, "keys": text })).unwrap()),
        ("JSON of a bundle", serde_json::to_vec(&serde_json::json!({ "keys": [{ "use": "x509-svid", "kty": text, "kid": text, "x5c": [text] }], "spiffe_sequence": text })).unwrap()),
        ("JSON cut", format!("{{\"key\": \"{text}").into()),
        ("YAML", format!("key: |\n{}", text.lines().map(|line| format!("  {line}\n")).collect::<String>()).into()),
        ("TOML", format!("key = \"{}\"\n", text.escape_default()).into()),
        ("TOML that is none", format!("key = {text}").into()),
        ("an assignment", format!("KEY='{text}'").into()),
        ("a byte order mark", format!("\u{feff}{text}").into()),
        ("UTF-16, little", [b"\xff\xfe".to_vec(), utf16(text, u16::to_le_bytes)].concat()),
        ("UTF-16, big, no mark", utf16(text, u16::to_be_bytes)),
        ("doubled", format!("{text}{text}").into()),
        ("joined", format!("{}{text}", text.trim_end()).into()),
        ("the first half", text[..half].into()),
        ("the second half", text[half..].into()),
        ("without its first line", text.split_once('\n').map_or(text, |(_, rest)| rest).into()),
        ("an octet flipped", flipped(half)),
        ("the first octet flipped", flipped(0)),
        ("an octet in a marker flipped", flipped(8)),
        ("base64 of it", STANDARD_NO_PAD.encode(text).into()),
        ("an octet that is no base64", text.replacen("\nMI", "\nM*", 1).into()),
        ("an END of another", text.replacen("END ", "END X", 1).into()),
        ("more dashes", text.replace("-----", "------").into()),
        ("fewer dashes", text.replace("-----", "----").into()),
        ("another label", text.replace("PRIVATE", "SECRET").into()),
        ("encrypted by its label", text.replace("PRIVATE", "ENCRYPTED PRIVATE").into()),
        ("a NUL in it", text.replacen('\n', "\0\n", 1).into()),
    ]
}

struct Files {
    directory: tempfile::TempDir,
    key: rcgen::KeyPair,
    leaf: String,
}

impl Files {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let uri = "spiffe://market.example/orders".to_owned().try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        let leaf = params.self_signed(&key).unwrap().pem();
        let files = Self { directory: tempfile::tempdir().unwrap(), key, leaf };
        files.write("leaf.pem", &files.leaf);
        files.write("good.key", files.key.serialize_pem());
        files.write("password", "correct horse battery staple\n");
        files
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = alone(env!("CARGO_BIN_EXE_avouch"), self.path());
        command.env("RUST_BACKTRACE", "1").current_dir(self.path()).args(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        use std::io::Write as _;
        let _ = child.stdin.take().unwrap().write_all(input); // some do not read it
        child.wait_with_output().unwrap()
    }

    /// Runs, and fails if octets of the secret are in what is printed. Says whether it ended well.
    fn shows_nothing(&self, needles: &Needles, what: &str, words: &[&str], input: &[u8]) -> bool {
        let output = self.run(words, input);
        assert!(output.status.code().is_some_and(|code| code <= 2), "{what}, {words:?}: {output:?}");
        for printed in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(printed);
            let found = needles.find(&text);
            assert_eq!(found, None, "{what}, {words:?} shows the secret: {text}");
        }
        let said = output.stdout.len() + output.stderr.len() > 0;
        assert!(
            output.status.success() || said || words[1] == "needs-renewal",
            "{what}, {words:?} says nothing"
        );
        output.status.success()
    }
}

/// Where a file of a key may be named, rightly or by mistake; the directories hold it under the names there are.
const OF_KEYS: &[&[&str]] = &[
    &["cert", "convert", "leaf.pem", "--key", "SECRET", "--to", "pem", "--out", "out.pem", "--force"],
    &[
        "cert",
        "convert",
        "leaf.pem",
        "--key",
        "SECRET",
        "--to",
        "pkcs12",
        "--password-file",
        "password",
        "--out",
        "out.p12",
        "--force",
    ],
    &["cert", "convert", "SECRET", "--to", "pem", "--out", "out.pem", "--force"],
    &["cert", "convert", "SECRET", "--to", "der", "--out", "out.der", "--force"],
    &[
        "cert",
        "convert",
        "leaf.pem",
        "--to",
        "pkcs12",
        "--password-file",
        "SECRET",
        "--out",
        "out.p12",
        "--force",
    ],
    &["cert", "inspect", "SECRET"],
    &["cert", "inspect", "SECRET", "--json"],
    &["cert", "inspect", "-"],
    &["cert", "inspect", "leaf.pem", "--bundle", "SECRET"],
    &["cert", "lint", "SECRET"],
    &["cert", "lint", "leaf.pem", "SECRET", "--json"],
    &["cert", "needs-renewal", "SECRET"],
    &["handshake", "127.0.0.1:1", "--identity", "apart"],
    &["handshake", "127.0.0.1:1", "--identity", "together"],
    &["handshake", "127.0.0.1:1", "--identity", "kubernetes", "--json"],
    &["handshake", "127.0.0.1:1", "--identity", "roots"],
    &["handshake", "127.0.0.1:1", "--bundle", "SECRET"],
    &[
        "check",
        "--identity",
        "apart",
        "--workload",
        "127.0.0.1:1=spiffe://market.example/x",
        "--socket",
        "none",
    ],
    &[
        "whois",
        "x",
        "--identity",
        "together",
        "--workload",
        "127.0.0.1:1=spiffe://market.example/x",
        "--socket",
        "none",
    ],
    &[
        "edges",
        "--identity",
        "kubernetes",
        "--workload",
        "127.0.0.1:1=spiffe://market.example/x",
        "--socket",
        "none",
    ],
    &[
        "dump",
        "x.tgz",
        "--identity",
        "apart",
        "--workload",
        "127.0.0.1:1=spiffe://market.example/x",
        "--socket",
        "none",
    ],
    &[
        "tap",
        "--json",
        "--identity",
        "roots",
        "--workload",
        "127.0.0.1:1=spiffe://market.example/x",
        "--socket",
        "none",
    ],
    &["check", "--from", "SECRET"],
    &["policy", "check", "leaf.pem", "--descriptors", "SECRET"],
];

#[test]
fn no_command_shows_octets_of_a_key_however_its_file_is_damaged() {
    let files = Files::new();
    let needles = Needles::of_key(&files.key);
    let pem = files.key.serialize_pem();
    let mut cases = damaged(&pem);
    cases.push(("DER", files.key.serialized_der().to_vec()));
    cases.push(("DER, cut", files.key.serialized_der()[..60].to_vec()));
    cases.push(("behind its certificate", format!("{}{pem}", files.leaf).into()));
    cases.push(("joined to its certificate", format!("{}{pem}", files.leaf.trim_end()).into()));
    for (what, content) in cases {
        files.write("SECRET", &content);
        for (certificate, key) in
            [("apart/svid.pem", "apart/key.pem"), ("kubernetes/tls.crt", "kubernetes/tls.key")]
        {
            files.write(certificate, &files.leaf);
            files.write(key, &content);
        }
        files.write("together/svid.pem", [content.as_slice(), files.leaf.as_bytes()].concat());
        files.write("roots/svid.pem", format!("{}{pem}", files.leaf));
        files.write("roots/bundle.pem", &content);
        for words in OF_KEYS {
            let worked = files.shows_nothing(&needles, what, words, &content);
            let uses_the_key = words.contains(&"--key");
            assert!(!uses_the_key || worked == USABLE.contains(&what), "{what}, {words:?}: {worked}");
        }
    }
}

/// The forms of a key's file that hold the key in spite of all.
const USABLE: &[&str] = &["good", "YAML", "a byte order mark", "doubled", "behind its certificate"];

#[test]
fn no_command_shows_octets_of_a_token_or_a_password_whatever_it_is_taken_for() {
    let files = Files::new();
    let token = format!(
        "avjt1.{}",
        URL_SAFE_NO_PAD.encode((0..120_u8).map(|octet| octet ^ 0x5a).collect::<Vec<_>>())
    );
    for secret in [token.as_str(), "Tr0ub4dor&3-a very long pass phrase, which nobody guesses"] {
        let needles = Needles::of(secret.as_bytes());
        for (what, content) in damaged(&format!("{secret}\n")) {
            files.write("SECRET", &content);
            files.write("apart/svid.pem", &files.leaf);
            files.write("apart/key.pem", &content);
            // The other directories are read as this one is.
            let reads = |words: &&&[&str]| words.contains(&"SECRET") || words.contains(&"apart");
            for words in OF_KEYS.iter().filter(reads) {
                files.shows_nothing(&needles, what, words, &content);
            }
        }
    }
}

#[test]
fn a_secret_in_the_place_of_a_policy_is_named_and_not_quoted() {
    let files = Files::new();
    let key = (Needles::of_key(&files.key), files.key.serialize_pem());
    let token = format!("avjt1.{}\n", URL_SAFE_NO_PAD.encode([0x5a; 120]));
    for (needles, text) in [key, (Needles::of(token.trim().as_bytes()), token)] {
        for content in
            [text.clone(), text.replace('\n', " "), text.replace('\n', "\\n"), format!("key = {text}")]
        {
            files.write("SECRET", &content);
            for words in [
                &["policy", "check", "SECRET", "--descriptors", "empty"][..],
                &["policy", "test", "SECRET", "--descriptors", "empty", "--json"],
            ] {
                files.write("empty", "");
                let worked = files.shows_nothing(&needles, "a policy", words, b"");
                assert!(!worked, "{words:?} takes it");
            }
        }
    }
}
