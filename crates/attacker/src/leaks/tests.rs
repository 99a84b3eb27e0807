//! That every form of a secret is found, wherever it begins, and nothing else is.

use super::*;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAECAwQFBgcICQoL\n\
    DA0ODxAREhMUFRYXGBkaGxwdHh+hRANCAASAgYKDhIWGh4iJiouMjY6PkJGSk5SV\n\
    lpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/\n\
    -----END PRIVATE KEY-----\n";

fn der() -> Vec<u8> {
    let body: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}

fn of_key() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.keys(KEY);
    secrets
}

fn form(secrets: &Secrets, output: impl AsRef<[u8]>) -> Option<&'static str> {
    secrets.pieces_in(output.as_ref()).first().map(|leak| leak.form)
}

#[test]
fn sixteen_octets_of_a_key_are_found_in_every_form_and_wherever_they_begin() {
    let secrets = of_key();
    let der = der();
    for at in 0..50 {
        let piece = &der[at..at + PIECE];
        let hex: Vec<String> = piece.iter().map(|octet| format!("{octet:02x}")).collect();
        for (name, said) in [
            ("decimal numbers", format!("invalid octets {piece:?} in it")),
            (
                "decimal numbers",
                format!("[{}]", piece.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")),
            ),
            ("decimal numbers", piece.iter().map(|octet| format!("{octet}u8;")).collect()),
            ("hexadecimal", format!("key={} x", hex.concat())),
            ("hexadecimal", format!("(0a{})", hex.concat().to_uppercase())),
            ("hexadecimal", hex.join(":")),
            ("hexadecimal", hex.join(" ").to_uppercase()),
            ("hexadecimal", format!("0x{}", hex.join(", 0x"))),
            ("text", format!("b\"{}\"", piece.escape_ascii())),
        ] {
            assert!(form(&secrets, &said).is_some(), "{name} from {at}: {said}");
        }
        for before in 0..3 {
            let all = [&[7; 2][..before], piece, &[9, 9]].concat();
            for said in [
                STANDARD.encode(&all),
                URL_SAFE_NO_PAD.encode(&all),
                format!("{{\"k\":\"x{}\"}}", STANDARD.encode(&all)),
            ] {
                assert!(form(&secrets, &said).is_some(), "base64 from {at}, {before} before it: {said}");
            }
        }
        let mut raw = b"line\n\xff".to_vec();
        raw.extend(piece);
        assert_eq!(secrets.pieces_in(&raw)[0].form, "its octets");
    }
}

#[test]
fn sixteen_characters_of_its_base64_are_found_however_they_are_quoted() {
    let secrets = of_key();
    let body: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    for at in 0..70 {
        let piece = &body[at..at + PIECE];
        let (front, back) = piece.split_at(7);
        let utf16: Vec<u8> = piece.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for said in [
            format!("error: `{piece}` is no path"),
            format!("{front} {back}"),
            format!("{front}\\n{back}"),
            format!("{front}\\r\\n{back}"),
            format!("\"{front}\\\\n{back}\""),
            piece.replace('/', "\\/"),
            piece.chars().map(|c| c.escape_unicode().to_string()).collect(),
            piece.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
            String::from_utf8(utf16.clone()).unwrap(),
            format!("{:?}", piece.as_bytes()),
            STANDARD.encode(piece),
            piece.bytes().map(|octet| format!("{octet:02X}")).collect(),
        ] {
            assert!(form(&secrets, &said).is_some(), "from {at}: {said}");
        }
    }
}

#[test]
fn a_leak_is_named_by_its_line_and_a_mark_is_one_whoever_it_belongs_to() {
    let text =
        "{\"a\":1}\n{\"key\":\"DA0ODxAREhMUFRYXGBka\"}\n-----BEGIN EC PRIVATE KEY-----\ntoken=avjt1.e30\n";
    let leaks = of_key().leaks(text.as_bytes());
    assert!(leaks.iter().any(|leak| leak.line == 2 && leak.form == "text"), "{leaks:?}");
    let marks: Vec<_> = leaks.iter().filter(|leak| leak.form == "a mark").map(|leak| leak.line).collect();
    assert_eq!(marks, [3, 4]);
    assert_eq!(Secrets::default().leaks(text.as_bytes()).len(), 2);
}

#[test]
fn what_is_public_and_what_is_short_is_no_leak() {
    let secrets = of_key();
    let public = &der()[73..];
    for said in [
        STANDARD.encode(public),
        format!("{public:?}"),
        "-----BEGIN CERTIFICATE-----\nMIIBpublicpublicpublicpublicpublicpublicpublicpublicpublicpublic"
            .to_owned(),
        "serial 4bf92f3577b34da6a3ce929d0e0e4736, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15".to_owned(),
        der()[20..35].iter().map(|octet| format!("{octet:02x}")).collect(),
        String::new(),
    ] {
        assert_eq!(secrets.leaks(said.as_bytes()), [], "{said}");
    }
}

#[test]
fn the_secret_inside_of_a_token_is_looked_for_and_the_public_rest_is_not() {
    let content =
        "{\"issuer\":\"spiffe://market.example/avouch/issuer\",\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhM\"}";
    let token = format!("avjt1.{}", URL_SAFE_NO_PAD.encode(content));
    let mut secrets = Secrets::default();
    secrets.token(&token);
    for said in ["AAECAwQFBgcICQoLDA0ODxAREhM", "000102030405060708090a0b0c0d0e0f10", &token[6..]] {
        assert!(form(&secrets, said).is_some(), "{said}");
    }
    assert_eq!(form(&secrets, "spiffe://market.example/avouch/issuer"), None);
    assert!(!format!("{secrets:?}").contains("AAEC"));
}

#[test]
fn the_keys_of_a_directory_are_found_and_other_files_left_alone() {
    let dir = std::env::temp_dir().join(format!("avouch-leaks-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("state")).unwrap();
    std::fs::write(dir.join("state/svid.pem"), KEY).unwrap();
    std::fs::write(dir.join("notes.txt"), KEY).unwrap();
    let mut secrets = Secrets::default();
    secrets.keys_below(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(secrets.len(), of_key().len());
    assert!(!secrets.is_empty());
}

#[test]
fn a_file_is_damaged_in_many_ways_and_each_is_another() {
    let all = damaged(KEY);
    let different: HashSet<_> = all.iter().map(|(_, octets)| octets).collect();
    assert!(all.len() > 25 && different.len() == all.len());
    // What is quoted of it is found, but for the tenth that ends in the line that all keys begin with.
    let secrets = of_key();
    for (name, octets) in all.iter().filter(|(name, _)| *name != "a tenth of it") {
        assert!(!secrets.pieces_in(octets).is_empty(), "{name}");
    }
}
