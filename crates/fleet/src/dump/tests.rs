//! Dumps there and back, and those that somebody made to do harm.

use super::*;
use crate::sample;
use std::io::Write as _;

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        // Written raw: the builder refuses the paths that an attacker would choose.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn refused(files: &[(&str, &[u8])]) -> String {
    unpack(archive(files).as_slice(), LIMITS).unwrap_err()
}

const HEAD: &[u8] = br#"{"format":1,"fleet":{"trust_domain":"market.example"}}"#;

#[test]
fn a_fleet_comes_back_as_it_went() {
    let fleet = sample::fleet();
    assert!(fleet.members.len() > 1);
    assert_eq!(unpack(pack(&fleet).unwrap().as_slice(), LIMITS).unwrap(), fleet);
    let empty = Fleet::default();
    assert_eq!(unpack(pack(&empty).unwrap().as_slice(), LIMITS).unwrap(), empty);
}

#[test]
fn a_dump_of_a_version_before_revocations_is_read() {
    let head = br#"{"format":1,"fleet":{"trust_domain":"market.example","issuer":{"entries":1,"process":{"phase":"serving"}},
        "entries":[{"spiffe_id":"spiffe://market.example/dev"}],"certificates":[{"serial":"0a1b","origin":"enroll"}]}}"#;
    let member = br#"{"workload":{"spiffe_id":"spiffe://market.example/dev","bundle_sequence":1},"status":{"phase":"serving"}}"#;
    let packed = archive(&[(FLEET, head), ("members/0000.json", member)]);
    let fleet = unpack(packed.as_slice(), LIMITS).unwrap();
    let issuer = fleet.issuer.unwrap();
    assert_eq!((issuer.entries, issuer.epoch, issuer.open_forks), (1, 0, 0));
    assert_eq!((fleet.certificates[0].parent.as_str(), fleet.certificates[0].revocation_id), ("", 0));
    assert_eq!((fleet.entries[0].on_fork.as_str(), fleet.entries[0].recovery_limit), ("", None));
    assert_eq!(fleet.members[0].status.as_ref().unwrap().trust, None);
    assert!(fleet.revocations.is_empty() && fleet.forks.is_empty());
}

#[test]
fn more_than_nine_thousand_members_keep_their_order() {
    let mut fleet = Fleet::default();
    for place in 0..LIMITS.files - 1 {
        fleet.members.push(Member { address: format!("a:{}", place + 1), ..Member::default() });
    }
    assert_eq!(unpack(pack(&fleet).unwrap().as_slice(), LIMITS).unwrap(), fleet);
    assert!(unpack(pack(&fleet).unwrap().as_slice(), Limits { files: 9, ..LIMITS }).is_err());
}

#[test]
fn what_looks_like_a_secret_is_not_written() {
    let mut fleet = sample::fleet();
    let key = "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----";
    fleet.issuer_problem = format!("cannot parse {key}");
    fleet.members[0].problem = "token avjt1.secret.x refused".to_owned();
    fleet.members[1].problem = format!("IllegalSectionStart {{ line: {:?} }}", [45_u8; 40]);
    fleet.members[2].problem = format!("not the start {:?}", [45_u8; 15]);
    let mut text = String::new();
    for entry in tar::Archive::new(GzDecoder::new(pack(&fleet).unwrap().as_slice())).entries().unwrap() {
        entry.unwrap().read_to_string(&mut text).unwrap();
    }
    assert!(!text.contains("PRIVATE KEY") && !text.contains("avjt1"), "{text}");
    assert!(!text.contains("IllegalSection") && text.contains("not the start [45, 45"), "{text}");
    assert_eq!(text.matches("[withheld").count(), 3);
}

#[test]
fn files_of_other_names_are_passed_over_wherever_they_point() {
    let bad = b"not json".as_slice();
    let packed = archive(&[
        ("../../etc/cron.d/x", bad),
        ("/etc/passwd", bad),
        ("members/../../x.json", bad),
        ("members/.json", bad),
        ("members/1.json/x", bad),
        ("later.json", bad),
        ("fleet.json", HEAD),
        ("members/7.json", br#"{"address":"a:1","later":{"x":[1]}}"#),
    ]);
    let fleet = unpack(packed.as_slice(), LIMITS).unwrap();
    assert_eq!(fleet.trust_domain, "market.example");
    assert_eq!(fleet.members.len(), 1);
    assert_eq!(fleet.members[0].address, "a:1");
}

#[test]
fn links_and_directories_are_no_files() {
    for (kind, what) in [
        (tar::EntryType::Symlink, "a link"),
        (tar::EntryType::Link, "a link"),
        (tar::EntryType::Directory, "a directory"),
        (tar::EntryType::Fifo, "something else"),
    ] {
        for name in [FLEET, "members/0000.json"] {
            let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_link(&mut header, name, "/etc/passwd").unwrap();
            let packed = builder.into_inner().unwrap().finish().unwrap();
            let error = unpack(packed.as_slice(), LIMITS).unwrap_err();
            assert_eq!(error, format!("{name} in it is {what}, not a file"));
        }
    }
}

#[test]
fn what_is_no_dump_is_refused_and_says_why() {
    for (content, part) in [
        (b"".as_slice(), "gzipped tar"),
        (b"hello, I am no archive at all", "gzipped tar"),
        (&pack(&sample::fleet()).unwrap()[..200], "gzipped tar"),
    ] {
        let error = unpack(content, LIMITS).unwrap_err();
        assert!(error.contains(part) || error.contains("no fleet.json"), "{error}");
    }
    for (files, part) in [
        (&[][..], "no fleet.json"),
        (&[("fleet.json", b"{".as_slice())], "fleet.json is not as it should be"),
        (&[("fleet.json", b"[]")], "fleet.json is not as it should be"),
        (&[("fleet.json", b"{}")], "format"),
        (&[("fleet.json", br#"{"format":2,"fleet":{"trust_domain":7}}"#)], "read it with the newer avouch"),
        (&[("fleet.json", br#"{"format":1,"fleet":{"trust_domain":7}}"#)], "expected a string"),
        (&[("fleet.json", HEAD), ("fleet.json", HEAD)], "more than one fleet.json"),
        (&[("fleet.json", HEAD), ("members/0.json", b"\xff")], "members/0.json is not as it should be"),
        (
            &[("fleet.json", HEAD), ("members/0.json", b"{}"), ("members/0.json", b"{}")],
            "more than one members/0.json",
        ),
    ] {
        let error = refused(files);
        assert!(error.contains(part), "{part}: {error}");
    }
    let deep = [b"{\"format\":1,\"fleet\":".as_slice(), &b"[".repeat(100_000)].concat();
    assert!(refused(&[("fleet.json", &deep)]).contains("recursion"));
}

#[test]
fn a_bomb_does_not_go_off() {
    let small = Limits { total: 1 << 20, values: 1_000, files: 10 };
    // Exceeds the limit of bytes, as a decompression bomb does.
    let zeros = vec![b' '; 2 << 20];
    for name in ["fleet.json", "other"] {
        let packed = archive(&[(name, &zeros), ("fleet.json", HEAD)]);
        assert!(packed.len() < 20_000);
        assert_eq!(unpack(packed.as_slice(), small).unwrap_err(), "it unpacks to more than any dump");
    }
    // Exceeds the limit of values: each two bytes of text take hundreds in memory.
    let many = [b"{\"records\":[".as_slice(), &b"{},".repeat(10_000), b"{}]}"].concat();
    let error = unpack(archive(&[("fleet.json", HEAD), ("members/0.json", &many)]).as_slice(), small);
    assert_eq!(error.unwrap_err(), "it holds more than any fleet");
    // Exceeds the limit of files.
    let mut packed = Vec::new();
    let names: Vec<String> = (0..20).map(|number| format!("x{number}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    packed.write_all(&archive(&files)).unwrap();
    assert_eq!(unpack(packed.as_slice(), small).unwrap_err(), "it has more than 10 files");
}

#[test]
fn a_size_that_lies_is_noticed() {
    let mut header = tar::Header::new_ustar();
    header.set_path(FLEET).unwrap();
    header.set_size(u64::MAX / 2);
    header.set_cksum();
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(header.as_bytes()).unwrap();
    zipped.write_all(HEAD).unwrap();
    let packed = zipped.finish().unwrap();
    assert!(unpack(packed.as_slice(), LIMITS).is_err());
}
