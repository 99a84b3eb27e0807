//! Layering, unknown keys and refused values, through the front door.

use std::time::Duration;

use avouch_time::ConfigDuration;
use serde::Deserialize;

use super::*;
use crate::launch_options::Flags;

pub(super) fn load(file: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.toml");
    std::fs::write(&path, file).unwrap();
    let flags = Flags {
        config: vec![path],
        set: set.iter().map(|text| (*text).to_owned()).collect(),
        ..Flags::default()
    };
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load("orders", &LaunchOptions { flags, env })
}

pub(super) fn fault(file: &str, env: &[(&str, &str)], set: &[&str]) -> String {
    load(file, env, set).err().map(|error| error.fault.to_string()).expect("it must be refused")
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let config = Config::load("orders", &LaunchOptions::default()).unwrap();
    assert_eq!(config.service.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.health_listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.service.drain_timeout, Duration::from_secs(10));
    assert!(config.identity.is_none() && config.upstreams.is_empty());
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
    let file = "[service]\nlisten = '127.0.0.1:1'\ndrain_timeout = '1s'\naddress = 'a:1'\n";
    let env = [("AVOUCH_SERVICE__LISTEN", "127.0.0.1:2"), ("AVOUCH_SERVICE__DRAIN_TIMEOUT", "2s")];
    let config = load(file, &env, &["service.listen=127.0.0.1:3"]).unwrap();
    assert_eq!(config.service.listen.port(), 3);
    assert_eq!(config.service.drain_timeout, Duration::from_secs(2));
    assert_eq!(config.service.address.as_deref(), Some("a:1"));
}

#[test]
fn the_identity_can_come_from_the_environment_alone() {
    let env = [
        ("AVOUCH_IDENTITY__SOURCE", "issuer"),
        ("AVOUCH_IDENTITY__ADDRESS", "127.0.0.1:7000"),
        ("AVOUCH_IDENTITY__TIMEOUT", "250ms"),
        ("AVOUCH_IDENTITY__ADDRESSES", "a:1,b:2"),
    ];
    let config = load("", &env, &[]).unwrap();
    let Some(IdentityConfig::Issuer(issuer)) = config.identity else { panic!("no issuer") };
    assert_eq!((issuer.address.as_str(), issuer.timeout), ("127.0.0.1:7000", Duration::from_millis(250)));
    assert_eq!(issuer.addresses, ["a:1", "b:2"]);
}

#[test]
fn the_advertised_address_is_told_to_the_issuer_unless_it_is_told_others() {
    let file = "[service]\naddress = 'orders:7001'\n[identity]\nsource = 'issuer'\naddress = 'issuer:7000'\n";
    let addresses = |file: &str| match load(file, &[], &[]).unwrap().identity {
        Some(IdentityConfig::Issuer(issuer)) => issuer.addresses,
        _ => panic!("no issuer"),
    };
    assert_eq!(addresses(file), ["orders:7001"]);
    assert_eq!(addresses(&format!("{file}addresses = ['x:1']\n")), ["x:1"]);
}

#[test]
fn variables_without_a_section_and_empty_ones_are_no_configuration() {
    let env = [("AVOUCH_REQUIRE_DOCKER", "1"), ("AVOUCH_SERVICE__LISTEN", ""), ("OTHER_A__B", "x")];
    assert_eq!(load("", &env, &[]).unwrap().service.listen.port(), 0);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    for (file, expected) in [
        ("[service]\nlisen = 'x'\n", "[service] has no key `lisen`; did you mean `listen`?"),
        ("[servise]\nlisten = 'x'\n", "there is no section [servise]; did you mean `service`?"),
        ("[order]\na = 1\n", "there is no section [order]; did you mean `orders`?"),
        ("[inventory]\na = 1\n", "there is no section [inventory]"),
        (
            "[service.limits]\nmax_handshake = 1\n",
            "[service] has no key `max_handshake`; did you mean `max_handshakes`?",
        ),
        ("[telemetry]\nsampling = 1\n", "[telemetry] has no key `sampling`"),
        (
            "[identity]\nsource = 'issuer'\naddress = 'a:1'\njoin_token = 'x'\n",
            "[identity] has no key `join_token`",
        ),
        (
            "[upstreams.ledger]\nurl = 'https://a:1'\nid = 'spiffe://a/b'\ntimout = '1s'\n",
            "[upstreams.ledger] has no key `timout`; did you mean `timeout`?",
        ),
    ] {
        assert_eq!(fault(file, &[], &[]), expected);
    }
}

#[test]
fn an_unknown_key_is_refused_wherever_it_comes_from() {
    let env = [("AVOUCH_SERVICE__LISTN", "127.0.0.1:1")];
    assert_eq!(fault("", &env, &[]), "[service] has no key `listn`; did you mean `listen`?");
    assert_eq!(fault("", &[], &["health.lisen=x"]), "[health] has no key `lisen`; did you mean `listen`?");
}

#[test]
fn values_that_cannot_work_are_refused_with_their_key() {
    for (file, key) in [
        ("[service]\nlisten = 'localhost:1'\n", "service.listen"),
        ("[health]\nlisten = '127.0.0.1'\n", "health.listen"),
        ("[service]\ndrain_timeout = '301s'\n", "service.drain_timeout"),
        ("[service]\naddress = 'orders'\n", "service.address"),
        ("[service]\naddress = 'orders:0'\n", "service.address"),
        ("[service.limits]\nmax_connections = 0\n", "service.limits.max_connections"),
        ("[service.limits]\nhandshake_timeout = '0s'\n", "service.limits.handshake_timeout"),
        ("[service.limits]\nmax_handshake_rate = 0\n", "service.limits.max_handshake_rate"),
        (
            "[service.limits]\nmax_unauthenticated_connections = 0\n",
            "service.limits.max_unauthenticated_connections",
        ),
        (
            "[service.limits]\nunauthenticated_connection_age = '0s'\n",
            "service.limits.unauthenticated_connection_age",
        ),
        ("[service.limits]\nmax_cancelled_calls = 0\n", "service.limits.max_cancelled_calls"),
        ("[authz]\nwatch_interval = '1ms'\n", "authz.watch_interval"),
        ("[upstreams.a]\nurl = 'http://a:1'\nid = 'spiffe://a/b'\n", "upstreams.a.url"),
        ("[upstreams.a]\nurl = 'https://a'\nid = 'spiffe://a/b'\n", "upstreams.a.url"),
        ("[upstreams.a]\nurl = 'https://a:1'\nid = 'ledger'\n", "upstreams.a.id"),
        ("[upstreams.a]\nurl = 'https://a:1'\nid = 'spiffe://a/b'\ntimeout = 0\n", "upstreams.a.timeout"),
    ] {
        let text = fault(file, &[], &[]);
        assert!(text.starts_with(&format!("{key} = ")), "{text}");
    }
}

#[test]
fn a_number_without_a_unit_is_refused_with_the_spelling_that_is_meant() {
    let files = "[identity]\nsource = 'files'\ncertificate = 'c'\nkey = 'k'\nbundle = 'b'\n";
    for (file, said) in [
        (
            "[service]\ndrain_timeout = 20\n",
            "service.drain_timeout = 20: the unit is missing; for seconds write \"20s\"",
        ),
        (
            "[upstreams.a]\nurl = 'https://a:1'\nid = 'spiffe://a/b'\ntimeout = '90'\n",
            "upstreams.a.timeout = 90: the unit is missing; for seconds write \"90s\"",
        ),
        (
            &format!("{files}poll_interval = 5\n"),
            "identity.poll_interval = 5: the unit is missing; for seconds write \"5s\"",
        ),
    ] {
        assert_eq!(fault(file, &[], &[]), said);
    }
}

#[test]
fn every_limit_of_the_listener_can_be_set() {
    let file = "[service.limits]\nmax_handshakes = 1\nmax_handshake_rate = 2\nmax_connections = 3\n\
                max_unauthenticated_connections = 4\nunauthenticated_connection_age = '5s'\n\
                handshake_timeout = '6s'\nmax_concurrent_streams = 7\nmax_header_list_size = 8000\n\
                max_cancelled_calls = 9\nmax_connection_age = '10s'\nmax_chain_depth = 11\n\
                max_certificate_bytes = 1200\nmax_calls = 13\nmax_streams = 14\n\
                max_buffered_bytes = 1500000\nrequest_timeout = '16s'\n";
    let options = load(file, &[], &[]).unwrap().service.options;
    assert_eq!((options.max_handshakes, options.max_handshake_rate), (1, 2));
    assert_eq!((options.max_connections, options.max_unauthenticated_connections), (3, 4));
    assert_eq!(options.unauthenticated_connection_age, Duration::from_secs(5));
    assert_eq!(options.handshake_timeout, Duration::from_secs(6));
    assert_eq!((options.max_concurrent_streams, options.max_header_list_size), (7, 8_000));
    assert_eq!((options.max_cancelled_calls, options.max_connection_age), (9, Duration::from_secs(10)));
    assert_eq!((options.max_calls, options.max_streams), (13, 14));
    assert_eq!((options.max_buffered_bytes, options.request_timeout), (1_500_000, Duration::from_secs(16)));
    assert_eq!((options.chain.max_depth, options.chain.max_certificate_bytes), (11, 1_200));
}

#[test]
fn values_of_the_wrong_shape_are_refused_with_their_section() {
    for (file, section) in [
        ("[service]\ndrain_timeout = 'soon'\n", "service.drain_timeout = soon: must be a duration"),
        ("[service]\ndrain_timeout = -1\n", "service.drain_timeout = -1: must be a duration"),
        ("[service]\nadmit_federated = 7\n", "service.admit_federated = 7: must be true or false"),
        ("[service]\ndrain_timeout = []\n", "[service]"),
        ("[identity]\nsource = 'nowhere'\n", "identity.source = nowhere: must be issuer or files"),
        (
            "[identity]\nspiffe_id = 'spiffe://market.example/a'\n",
            "identity.source = : must be issuer or files",
        ),
        ("[upstreams.a]\nurl = 'https://a:1'\n", "[upstreams.a]"),
        ("upstreams = 1\n", "[upstreams]"),
    ] {
        let text = fault(file, &[], &[]);
        assert!(text.starts_with(section), "{text}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_refused_with_its_place() {
    let text = fault("[service\n", &[], &[]);
    assert!(text.contains("orders.toml") && text.contains("line 1"), "{text}");
    let flags = Flags { config: vec!["/nowhere/orders.toml".into()], ..Flags::default() };
    let error = Config::load("orders", &LaunchOptions { flags, ..LaunchOptions::default() }).unwrap_err();
    assert!(error.fault.to_string().contains("/nowhere/orders.toml"));
}

#[test]
fn a_line_that_is_no_toml_is_named_by_its_place_and_not_quoted() {
    let text = fault("[service]\nlisten = '127.0.0.1:0'\nMIGHAgEAMBMGByqGSM49AgEG\n", &[], &[]);
    assert!(text.contains("line 3") && !text.contains("MIGHAgEAMBMG"), "{text}");
}

#[test]
fn a_configuration_that_is_no_file_of_its_size_is_refused_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("orders.toml");
    let refused = || {
        let flags = Flags { config: vec![path.clone()], ..Flags::default() };
        let error = Config::load("orders", &LaunchOptions { flags, ..LaunchOptions::default() }).unwrap_err();
        avouch_text::with_causes(&error).to_string()
    };
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(refused().contains("FIFO"), "{}", refused());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(refused().contains("1 MiB"), "{}", refused());
    std::fs::write(&path, b"\xff\xfe[\0").unwrap();
    assert!(refused().contains("UTF-8"), "{}", refused());
}

#[test]
fn a_secret_in_the_place_of_its_path_is_refused_and_shown_nowhere() {
    let token = "avjt1.eyJpc3N1ZXIiOiJzcGlmZmU6Ly9tYXJrZXQuZXhhbXBsZS9hdm91Y2gvaXNzdWVyIn0";
    let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVxQ9mYB1tGk3yZ0s";
    let key = format!("-----BEGIN PRIVATE KEY-----\\n{body}\\n-----END PRIVATE KEY-----\\n");
    for (what, secret) in [("a join token", token), ("a private key", &key), ("base64", body)] {
        for (file, named) in [
            (
                format!("[identity]\nsource = 'issuer'\njoin_token_file = \"{secret}\"\n"),
                "identity.join_token_file",
            ),
            (format!("[identity]\nsource = 'files'\nkey = \"{secret}\"\n"), "identity.key"),
            (format!("[authz]\npolicy = \"{secret}\"\n"), "authz.policy"),
            (format!("[records]\nfile = \"{secret}\"\n"), "records.file"),
            (format!("[service.limits]\n\"{secret}\" = 1\n"), "service.limits.(hidden)"),
            (format!("[upstreams.\"{secret}\"]\nurl = 'https://a:1'\n"), "upstreams.(hidden)"),
        ] {
            let text = fault(&file, &[], &[]);
            assert!(text.contains(named) && text.contains(what), "{file}: {text}");
            assert!(!text.contains(&secret[10..26]), "{text}");
        }
        for (env, set) in
            [(&[("AVOUCH_IDENTITY__KEY", secret)][..], None), (&[], Some(format!("identity.key={secret}")))]
        {
            let set = set.as_deref();
            let text = fault("[identity]\nsource = 'files'\n", env, set.as_slice());
            assert!(text.contains("identity.key is") && !text.contains(&secret[10..26]), "{text}");
        }
        let text = fault("", &[], &[secret]);
        assert!(text.contains("--set takes") && !text.contains(&secret[10..26]), "{text}");
    }
}

#[test]
fn a_services_own_section_may_hold_what_only_looks_like_base64() {
    let file = "[orders]\nseed = 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg'\n";
    load(file, &[], &[]).unwrap();
    assert!(fault("[orders]\nseed = 'avjt1.e30'\n", &[], &[]).contains("orders.seed is a join token"));
}

#[test]
fn records_are_kept_in_memory_unless_a_file_is_named_and_every_key_can_be_set() {
    assert_eq!(load("", &[], &[]).unwrap().records, RecordsConfig { keep: 1024, file: None });
    let file =
        "[records]\nkeep = 7\nfile = '/r.jsonl'\nrotate_bytes = 65536\nrotate_keep = 0\ndecisions = 'all'\n";
    let records = load(file, &[], &[]).unwrap().records;
    let file = records.file.unwrap();
    assert_eq!((records.keep, file.path.to_str(), file.allowed), (7, Some("/r.jsonl"), true));
    assert_eq!((file.rotate_bytes, file.rotate_keep), (65_536, 0));
    let file = load("[records]\nfile = 'r'\n", &[], &[]).unwrap().records.file.unwrap();
    assert_eq!((file.allowed, file.rotate_bytes, file.rotate_keep), (false, 16 * 1024 * 1024, 4));
    for (line, key) in [
        ("keep = 0", "records.keep"),
        ("keep = 16385", "records.keep"),
        ("rotate_bytes = 65535", "records.rotate_bytes"),
        ("rotate_keep = 1001", "records.rotate_keep"),
        ("decisions = 'some'", "records"),
        ("files = 'r'", "records"),
    ] {
        let fault = fault(&format!("[records]\n{line}\n"), &[], &[]);
        assert!(fault.contains(key), "{line}: {fault}");
    }
}

#[test]
fn an_override_that_is_no_key_and_value_is_refused() {
    for text in
        ["", "service", "service.listen", "listen=1", "=1", ".a=1", "a.=1", "a b.c=1", "a.b\n[x]\nc=1"]
    {
        assert!(fault("", &[], &[text]).starts_with("--set takes"), "{text}");
    }
}

#[test]
fn an_override_cannot_smuggle_in_other_keys() {
    let config = load("", &[], &["service.address=a:1\n[health]\nlisten='x'"]);
    assert!(config.is_err());
}

#[test]
fn the_services_own_section_is_its_own_type() {
    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Orders {
        database: Option<String>,
        workers: u32,
        timeout: Option<ConfigDuration>,
    }
    let file = "[orders]\ndatabase = '/d'\ntimeout = '5s'\n";
    let config = load(file, &[("AVOUCH_ORDERS__WORKERS", "3")], &[]).unwrap();
    let own: Orders = config.settings().unwrap();
    assert_eq!(own.workers, 3);
    assert_eq!(own.timeout, Some(ConfigDuration(Duration::from_secs(5))));
    assert_eq!(load("", &[], &[]).unwrap().settings::<Orders>().unwrap(), Orders::default());
    let error = load("[orders]\nworker = 3\n", &[], &[]).unwrap().settings::<Orders>().unwrap_err();
    assert_eq!(error.fault.to_string(), "[orders] has no key `worker`; did you mean `workers`?");
}

#[test]
fn the_start_line_shows_the_merged_configuration_without_secrets() {
    let file = "[service]\nlisten = '127.0.0.1:1'\n[orders]\npassword = 'hunter2'\n";
    let shown = load(file, &[], &["service.listen=127.0.0.1:2"]).unwrap().redacted();
    assert!(shown.contains("127.0.0.1:2") && !shown.contains("127.0.0.1:1\""), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
