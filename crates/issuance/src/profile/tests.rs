//! What a profile must and must not say.

use super::*;

const CA: &str = r#"
common_name = "{trust_domain} root {key_id}"
key_algorithm = "ecdsa-p256"
lifetime = "3650d"
backdate = "5m"
"#;

const SVID: &str = r#"
key_algorithms = ["ecdsa-p256", "ecdsa-p384"]
default_lifetime = "1h"
min_lifetime = "10s"
max_lifetime = "24h"
backdate = "30s"
max_dns_names = 8
"#;

fn root(change: (&str, &str)) -> Result<RootProfile, String> {
    assert!(CA.contains(change.0));
    RootProfile::parse("r.toml", &CA.replace(change.0, change.1)).map_err(|error| error.to_string())
}

fn svid(change: (&str, &str)) -> Result<SvidProfile, String> {
    assert!(SVID.contains(change.0));
    SvidProfile::parse("s.toml", &SVID.replace(change.0, change.1)).map_err(|error| error.to_string())
}

#[test]
fn the_profiles_in_certs_are_what_they_say() {
    let profiles = Profiles::embedded().unwrap();
    assert_eq!(profiles.svid.default_lifetime(), Duration::from_secs(3600));
    assert_eq!(profiles.svid.backdate(), Duration::from_secs(30));
    assert!(profiles.svid.accepts(KeyAlgorithm::EcdsaP256) && profiles.svid.accepts(KeyAlgorithm::EcdsaP384));
    assert!(!profiles.svid.accepts(KeyAlgorithm::Ed25519));
    assert!(profiles.root.lifetime() > profiles.signing_authority.lifetime());
    assert!(profiles.signing_authority.lifetime() > profiles.svid.max_lifetime());
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let error = root(("backdate = \"5m\"", "backdate = \"5m\"\nis_ca = false")).unwrap_err();
    assert!(error.starts_with("r.toml:6: unknown field `is_ca`"), "{error}");
}

#[test]
fn a_missing_key_is_refused() {
    let error = svid(("backdate = \"30s\"\n", "")).unwrap_err();
    assert!(error.contains("missing field `backdate`"), "{error}");
}

#[test]
fn lives_outside_the_ceilings_are_refused() {
    for (change, key) in
        [(("3650d", "9000d"), "lifetime"), (("3650d", "9s"), "lifetime"), (("5m", "2h"), "backdate")]
    {
        let error = root(change).unwrap_err();
        assert!(error.starts_with(&format!("r.toml: {key}: must be between")), "{error}");
    }
    for (change, key) in [
        (("24h", "8d"), "max_lifetime"),
        (("24h", "9s"), "max_lifetime"),
        (("\"1h\"", "\"25h\""), "default_lifetime"),
        (("\"1h\"", "\"9s\""), "default_lifetime"),
        (("10s", "4s"), "min_lifetime"),
        (("30s", "6m"), "backdate"),
    ] {
        let error = svid(change).unwrap_err();
        assert!(error.starts_with(&format!("s.toml: {key}: must be between")), "{error}");
    }
    assert!(SigningAuthorityProfile::parse("a.toml", CA).is_err(), "a signing authority of ten years");
}

#[test]
fn a_life_without_a_unit_is_refused_with_the_spelling_that_is_meant() {
    for written in ["20", "\"20\""] {
        let error = svid(("\"24h\"", written)).unwrap_err();
        assert!(error.starts_with("s.toml:5: ") && error.contains("write \"20s\""), "{error}");
    }
}

#[test]
fn keys_other_than_p256_and_p384_cannot_be_named() {
    assert!(svid(("ecdsa-p384", "rsa-2048")).unwrap_err().contains("unknown variant"));
    assert!(svid((r#"["ecdsa-p256", "ecdsa-p384"]"#, "[]")).unwrap_err().contains("at least one"));
    assert!(root(("ecdsa-p256", "ecdsa-p384")).unwrap_err().contains("ecdsa-p256"));
    assert!(svid(("= 8", "= 33")).unwrap_err().contains("not be more than 32"));
}

#[test]
fn a_common_name_must_tell_authorities_apart_and_fit() {
    for bad in ["root {key_id}", "{trust_domain}", "{trust_domain} {key_id} {x}", "{trust_domain} {key_id} ä"]
    {
        assert!(root(("{trust_domain} root {key_id}", bad)).unwrap_err().contains("common_name"), "{bad}");
    }
    let long = "{trust_domain} {key_id} a very, very, very long description of it";
    assert!(root(("{trust_domain} root {key_id}", long)).is_err());
}

#[test]
fn a_long_trust_domain_is_shortened_to_the_64_characters_of_a_common_name() {
    let profile = root((" ", " ")).unwrap();
    let id = [0xab; 32];
    let short = profile.ca().common_name(&"market.example".parse().unwrap(), &id);
    assert_eq!(short, "market.example root abababab");
    let long = profile.ca().common_name(&"a".repeat(255).parse().unwrap(), &id);
    assert!(long.len() <= 64 && long.contains("aa..aa") && long.ends_with(" root abababab"), "{long}");
}
