//! Every clause that makes a certificate an X.509-SVID of a workload, broken one at a time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::{Duration, SystemTime};

use avouch_spiffe::x509::{CertificateInfo, KeyAlgorithm, KeyRefused, Leaf, MalformedCertificate, SvidError};
use avouch_spiffe::{PeerIdentity, Reason, SpiffeIdError};
use rcgen::{DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber};
use support::{
    EXTENDED_KEY_USAGE, KEY_USAGE, SAN, by_hand, ec_spki, extension, leaf, raw_extension, root, rsa_spki,
    sign, sign_with, tlv, uri,
};

fn refused(change: impl FnOnce(&mut rcgen::CertificateParams)) -> SvidError {
    let mut params = leaf();
    change(&mut params);
    let error = Leaf::parse(&sign(&params)).unwrap_err();
    assert!(!error.clause().is_empty() && !error.to_string().is_empty());
    error
}

fn san_of(names: &[(u8, &[u8])]) -> Vec<u8> {
    tlv(0x30, &names.iter().flat_map(|(tag, value)| tlv(*tag, value)).collect::<Vec<_>>())
}

#[test]
fn a_right_leaf_gives_its_facts() {
    let mut params = leaf();
    params.subject_alt_names.push(SanType::DnsName("orders.market.example".try_into().unwrap()));
    params.use_authority_key_identifier_extension = true;
    let der = sign(&params);
    let leaf = Leaf::parse(&der).unwrap();
    assert_eq!(leaf.spiffe_id().as_str(), "spiffe://market.example/orders");
    assert_eq!(leaf.serial(), "0198ab");
    assert_eq!(leaf.not_before(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    assert_eq!(leaf.not_after(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_003_600));
    assert_eq!((leaf.subject(), leaf.issuer()), ("", ""));
    assert_eq!(leaf.dns_names(), ["orders.market.example"]);
    assert_eq!(leaf.key_algorithm(), KeyAlgorithm::EcdsaP256);
    assert_eq!(leaf.authority_key_id(), leaf.subject_key_id());
    assert!(leaf.authority_key_id().is_some_and(|id| id.len() == 40));
    let peer = PeerIdentity::from_leaf(&leaf, &der);
    assert_eq!(peer.spiffe_id(), leaf.spiffe_id());
    assert_eq!((peer.serial(), peer.issuer()), (leaf.serial(), leaf.issuer()));
    assert_eq!((peer.not_before(), peer.not_after()), (leaf.not_before(), leaf.not_after()));
    assert_eq!(peer.fingerprint(), CertificateInfo::parse(&der).unwrap().sha256);
}

#[test]
fn the_certificate_written_by_hand_is_right_too() {
    assert!(Leaf::parse(&by_hand(|_| {})).is_ok());
}

#[test]
fn keys_of_every_accepted_algorithm_are_taken() {
    for (algorithm, expected) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyAlgorithm::EcdsaP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyAlgorithm::EcdsaP384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, KeyAlgorithm::EcdsaP521),
        (&rcgen::PKCS_ED25519, KeyAlgorithm::Ed25519),
    ] {
        let der = sign_with(&leaf(), &KeyPair::generate_for(algorithm).unwrap());
        assert_eq!(Leaf::parse(&der).unwrap().key_algorithm(), expected);
    }
    for bits in [2048, 3072, 8192] {
        let der = by_hand(|parts| parts.spki = rsa_spki(bits));
        let expected = KeyAlgorithm::Rsa { bits: bits.try_into().unwrap() };
        assert_eq!(Leaf::parse(&der).unwrap().key_algorithm(), expected);
    }
}

#[test]
fn weak_oversized_and_unknown_keys_are_refused_by_name() {
    let p256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let compressed = [&[2][..], &[7; 32]].concat();
    let uncompressed = [&[4][..], &[7; 64]].concat();
    let dsa = tlv(
        0x30,
        &[tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1])), tlv(3, &[0, 2, 1, 1])].concat(),
    );
    let right = ec_spki(p256, &uncompressed);
    let mut other_tag = right.clone();
    other_tag[23] = 0x83;
    let more_inside = |spki: &[u8]| tlv(0x30, &[&spki[2..], &[5, 0]].concat());
    for (spki, algorithm) in [
        (more_inside(&right), "ECDSA P-256 in an encoding other than its own"),
        (other_tag, "ECDSA P-256 in an encoding other than its own"),
        (rsa_spki(1024), "RSA 1024"),
        (rsa_spki(2047), "RSA 2047"),
        (rsa_spki(8193), "RSA 8193"),
        (ec_spki(&[0x2b, 0x81, 4, 0, 10], &uncompressed), "ECDSA on curve 1.3.132.0.10"),
        (ec_spki(p256, &compressed), "ECDSA P-256 in an encoding other than an uncompressed point"),
        (ec_spki(p256, &uncompressed[..64]), "ECDSA P-256 in an encoding other than an uncompressed point"),
        (ec_spki(p256, &[]), "ECDSA P-256 in an encoding other than an uncompressed point"),
        (dsa, "algorithm 1.2.840.10040.4.1"),
    ] {
        let der = by_hand(|parts| parts.spki = spki);
        let error = Leaf::parse(&der).unwrap_err();
        assert_eq!(error, SvidError::Key(KeyRefused { algorithm: algorithm.to_owned() }));
        assert_eq!((error.reason(), error.clause()), (Reason::CertAlgorithmRefused, "key-algorithm"));
        assert!(!CertificateInfo::parse(&der).unwrap().key_accepted);
    }
}

#[test]
fn a_ca_is_no_leaf() {
    assert_eq!(refused(|params| params.is_ca = root().is_ca), SvidError::IsCa);
}

#[test]
fn basic_constraints_may_be_absent_because_false_is_their_default() {
    let mut params = leaf();
    params.is_ca = IsCa::NoCa;
    assert!(Leaf::parse(&sign(&params)).is_ok());
}

#[test]
fn key_usage_must_be_there_critical_and_digital_signature_alone_among_the_signing_ones() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign, KeyEncipherment};
    assert_eq!(refused(|params| params.key_usages.clear()), SvidError::KeyUsageMissing);
    for (usages, expected) in [
        (vec![KeyEncipherment], SvidError::DigitalSignatureMissing),
        (vec![DigitalSignature, KeyCertSign], SvidError::KeyCertSign),
        (vec![DigitalSignature, CrlSign], SvidError::CrlSign),
    ] {
        let error = refused(|params| params.key_usages = usages);
        assert_eq!(error, expected);
        assert_eq!(error.reason(), Reason::SvidInvalid);
    }
    let not_critical = refused(|params| {
        params.key_usages.clear();
        params.custom_extensions = vec![extension(KEY_USAGE, false, vec![0x03, 0x02, 0x07, 0x80])];
    });
    assert_eq!(not_critical, SvidError::KeyUsageNotCritical);
    let mut as_spire_does = leaf();
    as_spire_does.key_usages = vec![DigitalSignature, KeyEncipherment, KeyAgreement];
    assert!(Leaf::parse(&sign(&as_spire_does)).is_ok());
}

#[test]
fn extended_key_usage_must_be_both_and_never_any() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (purposes, expected) in [
        (vec![], SvidError::ExtendedKeyUsageMissing),
        (vec![Any], SvidError::ExtendedKeyUsageAny),
        (vec![ServerAuth, ClientAuth, Any], SvidError::ExtendedKeyUsageAny),
        (vec![ClientAuth], SvidError::ServerAuthMissing),
        (vec![ServerAuth], SvidError::ClientAuthMissing),
        (vec![CodeSigning], SvidError::ServerAuthMissing),
    ] {
        let error = refused(|params| params.extended_key_usages = purposes);
        assert_eq!(error, expected);
        assert_eq!(error.reason(), Reason::CertPurposeInvalid);
    }
}

#[test]
fn there_must_be_exactly_one_uri() {
    assert_eq!(refused(|params| params.subject_alt_names.clear()), SvidError::NoUri);
    let dns = SanType::DnsName("orders.market.example".try_into().unwrap());
    assert_eq!(refused(|params| params.subject_alt_names = vec![dns]), SvidError::NoUri);
    for second in
        ["spiffe://market.example/ledger", "https://market.example", "spiffe://market.example/orders"]
    {
        let error = refused(|params| params.subject_alt_names.push(uri(second)));
        assert_eq!(
            (error.reason(), &error),
            (Reason::SvidInvalid, &SvidError::ManyUris { count: 2 }),
            "{second}"
        );
    }
}

#[test]
fn the_uri_must_be_a_spiffe_id_with_a_path() {
    for (text, expected) in [
        ("spiffe://market.example", SvidError::NoPath),
        ("spiffe://market.example/", SvidError::SpiffeId(SpiffeIdError::TrailingSlash)),
        ("https://market.example/orders", SvidError::SpiffeId(SpiffeIdError::WrongScheme)),
        ("spiffe://MARKET.example/orders", SvidError::SpiffeId(SpiffeIdError::TrustDomainNotLowerCase)),
        ("SPIFFE://market.example/orders", SvidError::SpiffeId(SpiffeIdError::SchemeNotLowerCase)),
        ("spiffe://market.example/orders\u{0}", SvidError::SpiffeId(SpiffeIdError::PathCharacter('\0'))),
        ("", SvidError::SpiffeId(SpiffeIdError::Empty)),
    ] {
        assert_eq!(refused(|params| params.subject_alt_names = vec![uri(text)]), expected, "{text:?}");
    }
}

#[test]
fn a_name_that_cannot_be_read_is_refused_even_beside_a_good_uri() {
    let good: (u8, &[u8]) = (0x86, b"spiffe://market.example/orders");
    for bad in [(0x82, &[0xff, 0xfe][..]), (0x86, &[0xff][..])] {
        let value = san_of(&[good, bad]);
        let der = by_hand(|parts| parts.extensions[0] = raw_extension(0x11, true, &value));
        assert_eq!(Leaf::parse(&der), Err(SvidError::SanUnreadable));
    }
}

#[test]
fn the_san_must_be_critical_when_the_subject_is_empty_and_need_not_be_otherwise() {
    let value = san_of(&[(0x86, b"spiffe://market.example/orders")]);
    let mut params = leaf();
    params.subject_alt_names.clear();
    params.custom_extensions = vec![extension(SAN, false, value)];
    assert_eq!(Leaf::parse(&sign(&params)), Err(SvidError::SanNotCritical));
    params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
    assert_eq!(Leaf::parse(&sign(&params)).unwrap().subject(), "O=SPIRE");
}

#[test]
fn the_serial_must_be_positive_and_of_at_most_twenty_octets() {
    let nines = |length| SerialNumber::from(vec![0x09; length]);
    assert_eq!(refused(|params| params.serial_number = Some(0_u64.into())), SvidError::SerialNotPositive);
    assert_eq!(refused(|params| params.serial_number = Some(nines(21))), SvidError::SerialTooLong);
    assert_eq!(Leaf::parse(&by_hand(|parts| parts.serial = vec![0x80])), Err(SvidError::SerialNotPositive));
    assert_eq!(Leaf::parse(&by_hand(|parts| parts.serial = vec![])), Err(SvidError::SerialNotPositive));
    let mut params = leaf();
    params.serial_number = Some(nines(20));
    assert_eq!(Leaf::parse(&sign(&params)).unwrap().serial(), "09".repeat(20));
    let high_bit = Leaf::parse(&by_hand(|parts| parts.serial = vec![0x00, 0x80])).unwrap();
    assert_eq!(high_bit.serial(), "80");
}

fn malformed(error: MalformedCertificate) -> SvidError {
    let error = SvidError::Malformed(error);
    assert_eq!(error.reason(), Reason::CertMalformed);
    error
}

#[test]
fn what_is_not_exactly_one_certificate_is_malformed() {
    let der = sign(&leaf());
    assert_eq!(Leaf::parse(&[]), Err(malformed(MalformedCertificate::NotDer)));
    assert_eq!(Leaf::parse(&[&der[..], &[0]].concat()), Err(malformed(MalformedCertificate::TrailingData)));
    assert_eq!(Leaf::parse(&[&der[..], &der].concat()), Err(malformed(MalformedCertificate::TrailingData)));
    for length in 0..der.len() {
        assert_eq!(Leaf::parse(&der[..length]), Err(malformed(MalformedCertificate::NotDer)), "{length}");
    }
}

#[test]
fn another_version_is_malformed() {
    for version in [0, 1] {
        let der = by_hand(|parts| parts.version = tlv(0xa0, &tlv(0x02, &[version])));
        assert_eq!(Leaf::parse(&der), Err(malformed(MalformedCertificate::NotVersion3)));
    }
}

#[test]
fn a_certificate_of_version_1_is_no_svid_and_yet_has_facts() {
    let der = by_hand(|parts| {
        parts.version.clear(); // the default
        parts.extensions.clear();
    });
    assert_eq!(Leaf::parse(&der), Err(malformed(MalformedCertificate::NotVersion3)));
    assert_eq!(CertificateInfo::parse(&der), Err(MalformedCertificate::NotVersion3));
    let info = CertificateInfo::parse_any_version(&der).unwrap();
    assert_eq!((info.version, info.serial.as_str(), info.ca), (1, "01", false));
    assert_eq!(info.not_after.duration_since(info.not_before).unwrap(), Duration::from_secs(3_600));
    assert!(info.uris.is_empty() && info.key_usage.is_empty());
    let good = sign(&leaf());
    assert_eq!(CertificateInfo::parse_any_version(&good), CertificateInfo::parse(&good));
    assert_eq!(CertificateInfo::parse(&good).unwrap().version, 3);
    let trailing = [&der[..], &[0]].concat();
    assert_eq!(CertificateInfo::parse_any_version(&trailing), Err(MalformedCertificate::TrailingData));
}

#[test]
fn two_signature_algorithms_are_malformed() {
    let ecdsa_sha384 = tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]));
    let der = by_hand(|parts| parts.inner_algorithm = Some(ecdsa_sha384));
    assert_eq!(Leaf::parse(&der), Err(malformed(MalformedCertificate::SignatureAlgorithmMismatch)));
}

#[test]
fn an_end_before_the_beginning_is_malformed() {
    let der = by_hand(|parts| (parts.not_before, parts.not_after) = (parts.not_after, parts.not_before));
    assert_eq!(Leaf::parse(&der), Err(malformed(MalformedCertificate::Validity)));
}

#[test]
fn a_repeated_extension_is_malformed() {
    let error = refused(|params| {
        let value = tlv(0x30, &tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 3, 1]));
        params.custom_extensions = vec![extension(EXTENDED_KEY_USAGE, false, value)];
    });
    assert_eq!(error, malformed(MalformedCertificate::DuplicateExtension { oid: "2.5.29.37".to_owned() }));
}

#[test]
fn an_extension_that_cannot_be_read_or_has_trailing_data_is_malformed() {
    let good = by_hand(|_| {});
    assert!(Leaf::parse(&good).is_ok());
    let uri = san_of(&[(0x86, b"spiffe://market.example/orders")]);
    for (index, last, critical, value) in [
        (0, 0x11, true, vec![0x04, 0x00]),
        (0, 0x11, true, [uri, vec![0x05, 0x00]].concat()),
        (1, 0x0f, true, vec![0x02, 0x01, 0x80]),
        (1, 0x0f, true, vec![0x03, 0x02, 0x07, 0x80, 0x00]),
        (2, 0x25, false, vec![0x30, 0x01]),
        (3, 0x13, true, vec![0x30, 0x03, 0x01, 0x01]),
        (3, 0x13, true, vec![0x30, 0x00, 0x01]),
    ] {
        let der = by_hand(|parts| parts.extensions[index] = raw_extension(last, critical, &value));
        let oid = format!("2.5.29.{last}");
        assert_eq!(
            Leaf::parse(&der),
            Err(malformed(MalformedCertificate::MalformedExtension { oid })),
            "{value:02x?}"
        );
    }
}

#[test]
fn an_unknown_critical_extension_is_refused_and_an_uncritical_one_ignored() {
    let private = &[1, 3, 6, 1, 4, 1, 99_999, 1];
    let error = refused(|params| params.custom_extensions = vec![extension(private, true, vec![5, 0])]);
    let oid = "1.3.6.1.4.1.99999.1".to_owned();
    assert_eq!(error, SvidError::UnknownCriticalExtension { oid: oid.clone() });
    assert_eq!(error.clause(), "unknown-critical-extension");
    let mut params = leaf();
    params.custom_extensions = vec![extension(private, false, vec![5, 0])];
    assert!(Leaf::parse(&sign(&params)).is_ok());
    params.custom_extensions = vec![extension(private, true, vec![5, 0])];
    assert_eq!(CertificateInfo::parse(&sign(&params)).unwrap().unknown_critical, [oid]);
}

#[test]
fn a_key_identifier_marked_critical_is_refused_as_the_path_validator_would() {
    for (oid, value) in [(0x0e, tlv(0x04, &[7; 20])), (0x23, tlv(0x30, &tlv(0x80, &[7; 20])))] {
        let with = |critical| by_hand(|parts| parts.extensions.push(raw_extension(oid, critical, &value)));
        assert!(Leaf::parse(&with(false)).is_ok(), "{oid}");
        let oid = format!("2.5.29.{oid}");
        assert_eq!(Leaf::parse(&with(true)), Err(SvidError::UnknownCriticalExtension { oid }));
    }
}

#[test]
fn facts_tell_about_certificates_that_are_not_svids() {
    let mut params = root();
    params.distinguished_name.push(DnType::OrganizationName, " a, b=c\n#");
    params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("::1".parse().unwrap()));
    let info = CertificateInfo::parse(&sign(&params)).unwrap();
    assert_eq!(info.subject, "O=\\ a\\, b\\=c\\0a#,CN=market.example root");
    assert_eq!(info.ips, ["10.0.0.1", "::1"]);
    assert!(info.ca && info.path_len.is_none());
    assert_eq!((info.key_algorithm.as_str(), info.key_bits), ("ECDSA P-256", Some(256)));
    assert_eq!(info.key_usage, ["keyCertSign", "cRLSign"]);
    let weak = CertificateInfo::parse(&by_hand(|parts| parts.spki = rsa_spki(1024))).unwrap();
    assert_eq!((weak.key_algorithm.as_str(), weak.key_bits), ("RSA 1024", Some(1024)));
}

#[test]
fn names_for_people_hold_no_control_characters() {
    let mut params = leaf();
    params.subject_alt_names =
        vec![uri("spiffe://market.example/a\nforged"), SanType::DnsName("a\u{1b}[31m".try_into().unwrap())];
    let info = CertificateInfo::parse(&sign(&params)).unwrap();
    assert_eq!(info.uris, ["spiffe://market.example/a\\0aforged"]);
    assert_eq!(info.dns, ["a\\1b[31m"]);
}

#[test]
fn tags_that_only_some_readers_forgive_are_refused() {
    let names = |tag| tlv(tag, b"spiffe://market.example/orders");
    let both = [[0x2b, 6, 1, 5, 5, 7, 3, 1], [0x2b, 6, 1, 5, 5, 7, 3, 2]];
    let purposes = |tag| both.iter().flat_map(|purpose| tlv(tag, purpose)).collect::<Vec<_>>();
    for (at, last, value) in [
        (0, 0x11, tlv(0x30, &names(0xa6))),
        (0, 0x11, tlv(0x30, &names(0x46))),
        (0, 0x11, tlv(0x10, &names(0x86))),
        (1, 0x0f, vec![0x83, 0x02, 0x07, 0x80]),
        (2, 0x25, tlv(0x30, &purposes(0x86))),
        (3, 0x13, vec![0x30, 0x03, 0x81, 0x01, 0x00]),
    ] {
        let der = by_hand(|parts| parts.extensions[at] = raw_extension(last, true, &value));
        let error = Leaf::parse(&der).unwrap_err();
        assert_eq!(error.clause(), "malformed-extension", "{value:02x?}: {error}");
    }
}
