//! Unusable addresses, and trust domains that do not match, are refused before anything starts.

use super::tests::{fault, load};

const FILES: &str = "[identity]\nsource = 'files'\ncertificate = '/no/c'\nkey = '/no/k'\nbundle = '/no/b'\n";
const OWN: &str = "spiffe_id = 'spiffe://market.example/orders'\n";

fn upstream(name: &str, id: &str) -> String {
    format!("[upstreams.{name}]\nurl = 'https://{name}:1'\nid = '{id}'\n")
}

#[test]
fn an_ipv6_address_without_brackets_is_refused_with_what_was_meant_in_every_key() {
    let issuer = "[identity]\nsource = 'issuer'\n";
    for (file, key) in [
        ("[service]\nlisten = '::1:7001'\n".to_owned(), "service.listen"),
        ("[service]\naddress = '::1:7001'\n".to_owned(), "service.address"),
        ("[health]\nlisten = '::1:7001'\n".to_owned(), "health.listen"),
        (format!("{issuer}address = '::1:7001'\n"), "identity.address"),
        (format!("{issuer}address = 'a:1'\naddresses = ['::1:7001']\n"), "identity.addresses"),
        (
            "[upstreams.a]\nurl = 'https://::1:7001'\nid = 'spiffe://market.example/a'\n".to_owned(),
            "upstreams.a.url",
        ),
    ] {
        let said = fault(&file, &[], &[]);
        assert!(said.starts_with(&format!("{key} = ")) && said.ends_with("write [::1]:7001"), "{said}");
        assert!(load(&file.replace("::1:7001", "[::1]:7001"), &[], &[]).is_ok(), "{file}");
    }
}

#[test]
fn an_address_that_nobody_could_connect_to_is_refused_where_others_are_told_it() {
    for address in
        ["0.0.0.0:7001", "[::]:7001", "a:0", ":7001", "224.0.0.1:7001", "255.255.255.255:7001", "0:7001"]
    {
        for (file, key) in [
            (format!("[service]\naddress = '{address}'\n"), "service.address"),
            (format!("[identity]\nsource = 'issuer'\naddress = '{address}'\n"), "identity.address"),
            (
                format!("[upstreams.a]\nurl = 'https://{address}'\nid = 'spiffe://market.example/a'\n"),
                "upstreams.a.url",
            ),
        ] {
            let said = fault(&file, &[], &[]);
            assert!(said.starts_with(&format!("{key} = ")), "{said}");
        }
    }
    // To listen there is another matter, but for groups.
    assert!(load("[service]\nlisten = '0.0.0.0:0'\n[health]\nlisten = '[::]:0'\n", &[], &[]).is_ok());
    for group in ["224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1"] {
        let said = fault(&format!("[service]\nlisten = '{group}'\n"), &[], &[]);
        assert!(said.starts_with("service.listen = ") && said.contains("group"), "{said}");
    }
}

#[test]
fn an_upstreams_url_has_a_host_and_a_port_and_nothing_else() {
    let with = |url: &str| format!("[upstreams.a]\nurl = '{url}'\nid = 'spiffe://market.example/a'\n");
    for url in [
        "https://a:1/x",
        "https://a:1?x",
        "https://a:1#x",
        "https://u@a:1",
        "http://a:1",
        "https://a",
        "a:1",
        "",
    ] {
        let said = fault(&with(url), &[], &[]);
        assert!(said.starts_with("upstreams.a.url = "), "{said}");
    }
    let said = fault(&with("https://user:hunter2@a:1"), &[], &[]);
    assert!(!said.contains("hunter2"), "{said}");
    for url in ["https://a:1", "https://a:1/", "https://market_a_1:1", "https://[::1]:1"] {
        assert!(load(&with(url), &[], &[]).is_ok(), "{url}");
    }
}

#[test]
fn two_listeners_of_one_process_do_not_want_the_same_port() {
    let with =
        |one: &str, other: &str| format!("[service]\nlisten = '{one}'\n[health]\nlisten = '{other}'\n");
    let said = fault(&with("0.0.0.0:7001", "127.0.0.1:7001"), &[], &[]);
    assert!(said.starts_with("health.listen = 127.0.0.1:7001: is taken by service.listen"), "{said}");
    assert!(load(&with("127.0.0.1:7001", "127.0.0.1:7002"), &[], &[]).is_ok());
    // A socket that was passed is not bound again.
    let passed = [("LISTEN_FDS", "1"), ("LISTEN_PID", "1")];
    assert!(load(&with("127.0.0.1:7001", "127.0.0.1:7001"), &passed, &[]).is_ok());
}

#[test]
fn the_file_of_addresses_needs_a_directory() {
    let temp = tempfile::tempdir().unwrap();
    let with = |path: &std::path::Path| format!("[service]\naddress_file = {path:?}\n");
    assert!(load(&with(&temp.path().join("a.json")), &[], &[]).is_ok());
    let said = fault(&with(&temp.path().join("absent/a.json")), &[], &[]);
    assert!(said.starts_with("service.address_file = ") && said.contains("does not exist"), "{said}");
    assert!(fault(&with(temp.path()), &[], &[]).contains("is a directory"));
}

#[test]
fn an_upstream_of_a_trust_domain_without_a_bundle_is_refused() {
    let other = upstream("a", "spiffe://other.example/a");
    let federated = "[[identity.federated]]\ntrust_domain = 'other.example'\nbundle = '/no/f'\n";
    let said = fault(&format!("{FILES}{OWN}{other}"), &[], &[]);
    assert!(said.starts_with("upstreams.a.id = spiffe://other.example/a: is of the trust domain"), "{said}");
    assert!(load(&format!("{FILES}{OWN}{federated}{other}"), &[], &[]).is_ok());
    // Whose certificate it will be is not known here, but it is of one trust domain.
    assert!(load(&format!("{FILES}{other}"), &[], &[]).is_ok());
    let two = format!("{}{}", upstream("a", "spiffe://a.example/a"), upstream("b", "spiffe://b.example/b"));
    for identity in [FILES, "[identity]\nsource = 'issuer'\naddress = 'issuer:1'\n"] {
        let said = fault(&format!("{identity}{two}"), &[], &[]);
        assert!(said.starts_with("upstreams.b.id = "), "{said}");
    }
    let said = fault(&upstream("a", "spiffe://market.example"), &[], &[]);
    assert!(said.starts_with("upstreams.a.id = ") && said.contains("no server"), "{said}");
    let path = |id: &str| format!("{FILES}{OWN}[upstreams.a]\nurl = 'https://a:1'\nid = '{id}'\n");
    let config = load(&path("/ns/ledger"), &[], &[]).unwrap();
    let id = config.upstream("a").unwrap().id.resolve(&"own.example".parse().unwrap()).unwrap();
    assert_eq!(id.as_str(), "spiffe://own.example/ns/ledger");
    for wrong in ["/", "//a", "/a/", "/a/../b", "/ä"] {
        let said = fault(&path(wrong), &[], &[]);
        assert!(said.starts_with(&format!("upstreams.a.id = {wrong}: must be a SPIFFE ID")), "{said}");
    }
}

#[test]
fn trust_domains_that_exclude_each_other_or_are_none_are_refused_with_their_key() {
    let bundle =
        |domain: &str| format!("[[identity.federated]]\ntrust_domain = '{domain}'\nbundle = '/no/f'\n");
    let own = bundle("market.example");
    let said = fault(&format!("{FILES}{OWN}{own}"), &[], &[]);
    assert!(said.starts_with("identity.federated.trust_domain = market.example: is the own"), "{said}");
    let said = fault(&format!("{FILES}{}{}", bundle("b.example"), bundle("b.example")), &[], &[]);
    assert!(said.starts_with("identity.federated.trust_domain = b.example: is there twice"), "{said}");
    for (more, key) in [
        ("spiffe_id = 'market.example/orders'\n".to_owned(), "spiffe_id"),
        ("spiffe_id = 'spiffe://market.example'\n".to_owned(), "spiffe_id"),
        (bundle("Other Example"), "trust_domain"),
    ] {
        let said = fault(&format!("{FILES}{more}"), &[], &[]);
        assert!(said.contains(key), "{said}");
    }
}
