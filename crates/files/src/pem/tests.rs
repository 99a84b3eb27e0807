//! Tests of reading and writing PEM text.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn certificate(octet: u8) -> String {
    encode("CERTIFICATE", &[octet; 100])
}

fn read(text: impl AsRef<[u8]>) -> Result<Vec<u8>, PemError> {
    Ok(certificates(text.as_ref())?.iter().map(|der| der[0]).collect())
}

/// 138 octets, in the labels of keys.
fn key(label: &str) -> String {
    encode(label, &(0..138).collect::<Vec<u8>>())
}

#[test]
fn certificates_survive_their_pem_form_in_order() {
    for length in [1, 47, 48, 49, 1000] {
        let ders = [vec![1; length], vec![2; length]];
        let text = write_certificates(ders.iter().map(Vec::as_slice));
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = certificates(text.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), ders);
    }
}

#[test]
fn byte_order_marks_blanks_and_line_ends_of_every_kind_are_read_over() {
    let two = format!("{}{}", certificate(1), certificate(2));
    let marked = format!("\u{feff}{}\u{feff}{}", certificate(1), certificate(2));
    let indented: String = two.lines().map(|line| format!("    {line}  \n")).collect();
    let spaced: String = two.lines().map(|line| format!("{line}\n\n")).collect();
    for text in [
        two.clone(),
        marked,
        indented,
        spaced,
        two.replace('\n', "\r\n"),
        two.replace('\n', "\r"),
        two.trim_end().to_owned(),
        format!("subject=CN = a\n{two}some text\n"),
        format!("# -----BEGIN CERTIFICATE-----\n{two}"),
        two.replace("BEGIN CERTIFICATE", "BEGIN X509 CERTIFICATE")
            .replace("END CERTIFICATE", "END X509 CERTIFICATE"),
        format!("{two}{}{}", key("PRIVATE KEY"), encode("EC PARAMETERS", &[6, 1, 1])),
    ] {
        assert_eq!(read(&text), Ok(vec![1, 2]), "{text}");
    }
}

#[test]
fn no_block_is_dropped_in_silence() {
    let (one, two) = (certificate(1), certificate(2));
    let joined = format!("{}{two}", one.trim_end());
    let cut = one.replace("-----END CERTIFICATE-----\n", "");
    for (text, fault) in [
        (one.replace('\n', " "), PemError::LineBreaksMissing { line: 1 }),
        (one.replace('\n', "\\n"), PemError::LineBreaksMissing { line: 1 }),
        (format!("\"{}\"", one.replace('\n', "\\n")), PemError::LineBreaksMissing { line: 1 }),
        (joined, PemError::SharedLine { line: 5 }),
        (one.replace("\n-----END", "-----END"), PemError::SharedLine { line: 4 }),
        (cut.clone(), PemError::Cut { kind: Kind::Certificate, line: 1 }),
        (format!("{cut}{two}"), PemError::Cut { kind: Kind::Certificate, line: 1 }),
        (format!("{two}{cut}"), PemError::Cut { kind: Kind::Certificate, line: 6 }),
        (one.replace("END CERTIFICATE", "END CERT"), PemError::Cut { kind: Kind::Certificate, line: 1 }),
        (format!("{two}-----END CERTIFICATE-----\n"), PemError::NoBegin { line: 6 }),
        (one.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE---"), PemError::BadMarker { line: 1 }),
        (
            format!("{two}{}", one.replace("AQEB", "A*EB")),
            PemError::Base64 { kind: Kind::Certificate, line: 6 },
        ),
        (encode("CERTIFICATE", &[]), PemError::Base64 { kind: Kind::Certificate, line: 1 }),
        (
            format!("{two}{}", encode("TRUSTED CERTIFICATE", &[1])),
            PemError::OpenSslOnly { kind: Kind::TrustedCertificate, line: 6 },
        ),
        (encode("PKCS7", &[1]), PemError::OpenSslOnly { kind: Kind::Pkcs7, line: 1 }),
        (key("PRIVATE KEY"), PemError::Absent { wanted: Wanted::Certificates, found: Kind::Pkcs8Key }),
        (String::new(), PemError::NotPem { wanted: Wanted::Certificates, form: Form::Empty }),
        (
            "# -----BEGIN CERTIFICATE-----\n".into(),
            PemError::NotPem { wanted: Wanted::Certificates, form: Form::Text },
        ),
    ] {
        assert_eq!(read(&text), Err(fault), "{text}");
    }
}

#[test]
fn a_damaged_block_is_lost_alone_where_blocks_are_shown() {
    let text = format!("{}{}", certificate(1).replace("AQEB", "A*EB"), certificate(2));
    let each = each_block(text.as_bytes()).unwrap();
    assert_eq!(each[0].as_ref().err(), Some(&PemError::Base64 { kind: Kind::Certificate, line: 1 }));
    assert_eq!(each[1].as_ref().unwrap().der.as_slice(), [2; 100]);
    assert!(each_block(b"-----BEGIN CERTIFICATE-----\nAAAA\n").is_err());
}

#[test]
fn keys_are_read_in_their_three_forms_beside_whatever_else_there_is() {
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let text = format!("{}{}{}", encode("EC PARAMETERS", &[6, 1, 1]), certificate(1), key(label));
        assert_eq!(private_key(text.as_bytes()).unwrap().secret_der().len(), 138, "{label}");
    }
}

#[test]
fn what_is_in_the_place_of_a_key_is_named_with_the_command_that_mends_it() {
    let header = "EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    let sec1_encrypted = key("EC PRIVATE KEY").replacen("EC PRIVATE KEY-----\n", header, 1);
    let pkcs8 = (0..138).collect::<Vec<u8>>();
    let der = [&[0x30, 0x81, 0x8a][..], &pkcs8].concat();
    for (content, names, mend) in [
        (key("ENCRYPTED PRIVATE KEY").into_bytes(), "encrypted", "openssl pkey -in '/a b/key' -out"),
        (sec1_encrypted.into_bytes(), "encrypted", "openssl pkey -in"),
        (der, "DER", "openssl pkey -inform DER -in"),
        (key("PUBLIC KEY").into_bytes(), "public key", "private key"),
        (key("OPENSSH PRIVATE KEY").into_bytes(), "OpenSSH", "ssh-keygen -p"),
        (certificate(1).into_bytes(), "certificate", "exchanged"),
        (key("PRIVATE KEY").replace('\n', " ").into_bytes(), "line breaks are missing", "printf"),
        (key("PRIVATE KEY").encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16", "iconv"),
        (b"\x30\x05\x02\x01\x03\x30\x00".to_vec(), "PKCS#12", "openssl pkcs12"),
        (b"\x30\x05\x30\x00\x04\x01\x00".to_vec(), "encrypted private key in DER", "-inform DER -in"),
        (b"\x30\x06\x30\x00\x03\x02\x00\x00".to_vec(), "public key in DER", "private key"),
    ] {
        let text = private_key(&content).unwrap_err().describe(Path::new("/a b/key"));
        assert!(text.contains(names) && text.contains(mend), "{text}");
    }
}

/// Any 16 octets of the secret in `text`, as text or as decimal numbers.
fn leaks(secret: &[u8], text: &str) -> bool {
    secret.windows(16).any(|part| {
        let numbers = part.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        std::str::from_utf8(part).is_ok_and(|part| text.contains(part)) || text.contains(&numbers)
    })
}

proptest! {
    #[test]
    fn no_error_holds_octets_of_a_key_however_it_is_damaged(
        at in 0_usize..250, octet: u8, cut in 0_usize..250, joined: bool, label in 0_usize..4,
    ) {
        let label = ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"][label];
        let whole = key(label);
        let mut text = if joined { whole.replace('\n', " ") } else { whole.clone() }.into_bytes();
        let place = at % text.len();
        text[place] = octet;
        text.truncate(text.len() - cut % text.len());
        let body: String = whole.lines().filter(|line| !line.starts_with("---")).collect();
        for error in [private_key(&text).err(), certificates(&text).err(), blocks(&text).err()].into_iter().flatten() {
            let said = format!("{error} {error:?} {}", error.describe(Path::new("k")));
            prop_assert!(!leaks(body.as_bytes(), &said) && !leaks(&text, &said), "{said}");
        }
    }

    #[test]
    fn any_octets_are_read_without_a_panic(text: Vec<u8>) {
        let _ = (blocks(&text), certificates(&text), private_key(&text));
    }
}
