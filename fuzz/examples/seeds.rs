//! Writes the seeds again that cannot be written by hand: certificates, requests, handshakes. What it writes is committed,
//! the keys it makes are thrown away. Seeds that were found later have names of their own and stay as they are, except
//! those in `chain`, which end in the root that this replaces.
//!
//! `cargo run -p avouch-fuzz --example seeds`
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a tool for developers")]

use std::path::Path;
use std::time::Duration;

use avouch_fuzz::der;
use avouch_fuzz::world::{AUTHORITY_NAME, ROOT_NAME, authority_params, ecdsa_sha256, leaf_params, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequest, CustomExtension, DnType,
    ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair, KeyUsagePurpose as Usage, SanType,
};

const ID: &str = "spiffe://market.example/orders";
type Change<'a> = &'a dyn Fn(&mut CertificateParams);

fn write(target: &str, name: &str, content: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), content).unwrap();
}

/// A root and what it signs.
struct Ca {
    root: Issuer<'static, KeyPair>,
    root_der: Vec<u8>,
}

impl Ca {
    fn new() -> Self {
        let (params, key) = (authority_params(ROOT_NAME), KeyPair::generate().unwrap());
        let root_der = params.self_signed(&key).unwrap().der().to_vec();
        Self { root: Issuer::new(params, key), root_der }
    }

    fn authority(&self, change: Change<'_>) -> (Issuer<'static, KeyPair>, Vec<u8>) {
        self.authority_with(KeyPair::generate().unwrap(), change)
    }

    fn authority_with(&self, key: KeyPair, change: Change<'_>) -> (Issuer<'static, KeyPair>, Vec<u8>) {
        let mut params = authority_params(AUTHORITY_NAME);
        change(&mut params);
        let der = params.signed_by(&key, &self.root).unwrap().der().to_vec();
        (Issuer::new(params, key), der)
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, change: Change<'_>) -> Vec<u8> {
    leaf_with(&KeyPair::generate().unwrap(), issuer, change)
}

fn leaf_with(key: &KeyPair, issuer: &Issuer<'_, KeyPair>, change: Change<'_>) -> Vec<u8> {
    let mut params = leaf_params(ID);
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params.signed_by(key, issuer).unwrap().der().to_vec()
}

fn unchanged(_: &mut CertificateParams) {}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn named(text: &'static str) -> impl Fn(&mut CertificateParams) {
    move |params| params.subject_alt_names = vec![uri(text)]
}

fn dated(from: i64, to: i64) -> impl Fn(&mut CertificateParams) {
    let at = |hours: i64| {
        let distance = Duration::from_secs(hours.unsigned_abs() * 3600);
        if hours < 0 { now() - distance } else { now() + distance }
    };
    move |params| (params.not_before, params.not_after) = (at(from).into(), at(to).into())
}

fn unknown_critical(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

fn chains(ca: &Ca) {
    let (authority, der) = ca.authority(&unchanged);
    let chain = |name: &str, change: Change<'_>| {
        write("chain", name, [leaf(&authority, change), der.clone()].concat());
    };
    chain("ok", &unchanged);
    chain("ok-dns-names", &|params| {
        params.subject_alt_names.push(SanType::DnsName("orders.market.example".try_into().unwrap()));
    });
    chain("ok-subject", &|params| {
        params.distinguished_name.push(DnType::OrganizationName, "Market, \"Inc\"")
    });
    chain("ok-last-second", &dated(-1, 0));
    chain("ok-no-basic-constraints", &|params| params.is_ca = IsCa::NoCa);
    chain("ok-more-purposes", &|params| params.extended_key_usages.push(Purpose::EmailProtection));
    chain("expired", &dated(-2, -1));
    chain("not-yet-valid", &dated(1, 2));
    chain("ca", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    chain("key-cert-sign", &|params| params.key_usages.push(Usage::KeyCertSign));
    chain("crl-sign", &|params| params.key_usages.push(Usage::CrlSign));
    chain("no-key-usage", &|params| params.key_usages.clear());
    chain("no-digital-signature", &|params| params.key_usages = vec![Usage::KeyAgreement]);
    chain("no-extended-key-usage", &|params| params.extended_key_usages.clear());
    chain("server-only", &|params| params.extended_key_usages = vec![Purpose::ServerAuth]);
    chain("any-purpose", &|params| params.extended_key_usages.push(Purpose::Any));
    chain("two-uris", &|params| params.subject_alt_names.push(uri("spiffe://market.example/ledger")));
    chain("no-uri", &|params| {
        params.subject_alt_names = vec![SanType::DnsName("orders".try_into().unwrap())]
    });
    chain("no-path", &named("spiffe://market.example"));
    chain("upper-case-domain", &named("spiffe://MARKET.example/orders"));
    chain("foreign-domain", &named("spiffe://other.example/orders"));
    chain("unknown-domain", &named("spiffe://nobody.example/orders"));
    chain("no-spiffe-id", &named("https://market.example/orders"));
    chain("control-characters", &named("spiffe://market.example/a\nforged log line"));
    chain("unknown-critical", &unknown_critical);
    write("chain", "no-intermediate", leaf(&authority, &unchanged));
    write("chain", "intermediate-first", [der.clone(), leaf(&authority, &unchanged)].concat());
    write("chain", "ok-rubbish-besides", [leaf(&authority, &unchanged), der.clone(), vec![0]].concat());
    let bare = [leaf(&authority, &unchanged), der.clone(), ca.root_der.clone()].concat();
    write("chain", "ok-with-root", bare);
    write("chain", "too-deep", [leaf(&authority, &unchanged), der.repeat(5)].concat());
    write("chain", "self-signed", leaf_params(ID).self_signed(&KeyPair::generate().unwrap()).unwrap().der());
    write("chain", "ok-below-the-root", leaf(&ca.root, &unchanged));
    for (name, key) in [
        ("ok-p384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()),
        ("ok-ed25519", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
    ] {
        write("chain", name, [leaf_with(&key, &authority, &unchanged), der.clone()].concat());
    }
    intermediates(ca);
}

fn intermediates(ca: &Ca) {
    let chain = |name: &str, change: Change<'_>| {
        let (authority, der) = ca.authority(change);
        write("chain", name, [leaf(&authority, &unchanged), der].concat());
    };
    chain("ok-path-length-0", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    chain("intermediate-expired", &dated(-2, -1));
    chain("intermediate-no-ca", &|params| params.is_ca = IsCa::ExplicitNoCa);
    chain("intermediate-unknown-critical", &unknown_critical);
    chain("intermediate-no-key-usage", &|params| params.key_usages.clear());
    chain("intermediate-crl-sign-only", &|params| params.key_usages = vec![Usage::CrlSign]);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let (authority, der) = ca.authority_with(key, &unchanged);
    write("chain", "ok-intermediate-p384", [leaf(&authority, &unchanged), der].concat());
    for (name, length) in [("ok-path-length-1", 1), ("path-length-exceeded", 0)] {
        let (upper, upper_der) = ca.authority(&|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
            params.distinguished_name.push(DnType::OrganizationName, "upper");
        });
        let (params, key) = (authority_params(AUTHORITY_NAME), KeyPair::generate().unwrap());
        let lower_der = params.signed_by(&key, &upper).unwrap().der().to_vec();
        let lower = Issuer::new(params, key);
        write("chain", name, [leaf(&lower, &unchanged), lower_der, upper_der].concat());
    }
    let (authority, der) = ca.authority(&unchanged);
    let (params, key) = (leaf_params("spiffe://market.example/mallory"), KeyPair::generate().unwrap());
    let mut params = params;
    params.distinguished_name.push(DnType::CommonName, "mallory");
    let mallory_der = params.signed_by(&key, &authority).unwrap().der().to_vec();
    let mallory = Issuer::new(params, key);
    write("chain", "signed-by-a-leaf", [leaf(&mallory, &unchanged), mallory_der, der].concat());
}

fn request(change: Change<'_>) -> CertificateSigningRequest {
    request_with(&KeyPair::generate().unwrap(), change)
}

fn request_with(key: &KeyPair, change: Change<'_>) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(ID)];
    change(&mut params);
    params.serialize_request(key).unwrap()
}

fn requests() {
    let csr = |name: &str, change: Change<'_>| write("csr", name, request(change).der());
    csr("ok", &unchanged);
    csr("ok-no-names", &|params| params.subject_alt_names.clear());
    csr("ok-somebody-else", &named("spiffe://market.example/ledger"));
    csr("ok-wants-to-be-a-ca", &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "root");
        params.subject_alt_names.push(SanType::DnsName("everything.example".try_into().unwrap()));
    });
    csr("two-uris", &|params| params.subject_alt_names.push(uri("spiffe://market.example/ledger")));
    csr("no-spiffe-id", &named("https://market.example/orders"));
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    write("csr", "ok-p384", request_with(&p384, &unchanged).der());
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    write("csr", "ed25519", request_with(&ed25519, &unchanged).der());
    let right = request(&unchanged).der().to_vec();
    write("csr", "trailing-octet", [&right[..], &[0]].concat());
    let mut forged = right;
    *forged.last_mut().unwrap() ^= 1;
    write("csr", "forged", forged);
}

fn bundles(ca: &Ca) {
    let key = |der: &[u8]| format!(r#"{{"use":"x509-svid","kty":"EC","x5c":["{}"]}}"#, STANDARD.encode(der));
    let bundle = |keys: &[String], more: &str| format!("{{\"keys\":[{}]{more}}}\n", keys.join(","));
    let (_, authority) = ca.authority(&unchanged);
    let (root, other) = (key(&ca.root_der), key(&authority));
    let more = r#","spiffe_sequence":7,"spiffe_refresh_hint":300"#;
    write("bundle", "ok", bundle(&[root.clone(), other], more));
    write("bundle", "ok-twice", bundle(&[root.clone(), root.clone()], ""));
    let jwt = r#"{"use":"jwt-svid","kty":"EC","kid":"1","crv":"P-256","x":"AA","y":"AA"}"#.to_owned();
    write("bundle", "ok-other-uses", bundle(&[jwt, root.clone()], r#","unknown":[1,{}]"#));
    write("bundle", "leaf", bundle(&[key(&leaf(&ca.root, &unchanged))], ""));
    write("bundle", "trailing-octet", bundle(&[key(&[&ca.root_der[..], &[0]].concat())], ""));
    write("bundle", "negative-sequence", bundle(&[root], r#","spiffe_sequence":-1"#));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let der = authority_params(ROOT_NAME).self_signed(&ed25519).unwrap().der().to_vec();
    write("bundle", "ok-ed25519", bundle(&[key(&der)], ""));
    // Found nowhere as text: the certificate alone, which the target wraps.
    write("bundle", "certificate", &ca.root_der);
}

fn hello(versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&str]) -> Vec<u8> {
    let mut config = rustls::ClientConfig::builder_with_provider(avouch_identity::crypto_provider().clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut client =
        rustls::ClientConnection::new(config.into(), "market.example".try_into().unwrap()).unwrap();
    let mut out = Vec::new();
    client.write_tls(&mut out).unwrap();
    out
}

fn handshakes() {
    let octets = |name: &str, kind: u8, rest: &[u8]| write("handshake", name, [&[kind], rest].concat());
    let whole = hello(&[&rustls::version::TLS13], &["h2"]);
    octets("hello", 0, &whole);
    octets("hello-half", 0, &whole[..whole.len() / 2]);
    octets("hello-twice", 0, &[whole.clone(), whole.clone()].concat());
    octets("hello-http1", 0, &hello(&[&rustls::version::TLS13], &["http/1.1"]));
    let compatible = [0x14, 3, 3, 0, 1, 1];
    let finished = [&[0x17, 3, 3, 0, 69][..], &[0xab; 69]].concat();
    octets("hello-and-rubbish", 0, &[&whole[..], &compatible, &finished].concat());
    octets("http2-in-the-clear", 0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    octets("http1-in-the-clear", 0, b"GET / HTTP/1.1\r\nhost: market.example\r\n\r\n");
    octets("nothing", 0, &[]);
    octets("alert", 0, &[0x15, 3, 3, 0, 2, 2, 40]);
    octets("sslv2", 0, &[0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 0x10, 7, 0, 0xc0]);
    octets("tls12", 0, &[0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3]);
    octets("huge-record", 0, &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff]);

    let ca = Ca::new();
    let (authority, _) = ca.authority(&unchanged);
    let chain = |name: &str, change: Change<'_>| octets(name, 1, &leaf(&authority, change));
    chain("ok-presented", &unchanged);
    chain("presented-ca", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    chain("presented-two-uris", &|params| params.subject_alt_names.push(uri("spiffe://market.example/x")));
    chain("presented-control-characters", &named("spiffe://market.example/a\nforged log line"));
    chain("presented-expired", &dated(-2, -1));
    octets("presented-nothing", 1, &[]);
    octets("presented-rubbish", 1, &[0x30, 3, 1, 2, 3]);

    octets("ok-edited-not-at-all", 2, &[0]);
    octets("edited-nobody", 2, &[1]);
    octets("edited-foreign-authority", 2, &[2]);
    octets("edited-foreign-domain", 2, &[3]);
    octets("ok-edited-hello-in-two-records", 2, &[0, 0, 5, 0, 40, 0]);
    octets("edited-hello", 2, &[0, 0, 0, 0, 40, 1]);
    octets("edited-certificate", 2, &[0, 2, 0, 0, 40, 1]);
    octets("edited-cut", 2, &[0, 2, 9, 0, 40, 0]);
    octets("edited-dropped", 2, &[0, 2, 1, 0, 0, 0]);
    octets("edited-twice", 2, &[0, 2, 2, 0, 0, 0]);

    http2();
}

/// Octets after the handshake: the preface, settings, and what may follow.
fn http2() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    // :method POST, :scheme https, :path /, an authority.
    let headers = [0x83, 0x87, 0x84, 0x41, 1, b'a'];
    let after = |name: &str, frames: &[Vec<u8>]| {
        write("handshake", name, [&[3], &preface[..], &frames.concat()].concat());
    };
    after("ok-settings", &[]);
    after("ok-request", &[frame(1, 5, 1, &headers)]);
    after("ok-request-with-body", &[frame(1, 4, 1, &headers), frame(0, 1, 1, b"\0\0\0\0\x02hi")]);
    after("ok-request-without-end", &[frame(1, 4, 1, &headers), frame(0, 0, 1, b"\0\0")]);
    after("ok-continued", &[frame(1, 1, 1, &headers[..2]), frame(9, 4, 1, &headers[2..])]);
    after("ok-continued-for-ever", &[frame(1, 1, 1, &headers), frame(9, 0, 1, &[]).repeat(50)]);
    let reset = [frame(1, 5, 1, &headers), frame(3, 0, 1, &[0, 0, 0, 8])].concat();
    after("ok-reset", &[reset]);
    after("ok-window-of-nothing", &[frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), frame(1, 5, 1, &headers)]);
    after("ok-window-overflow", &[frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]);
    after("ok-ping-and-goaway", &[frame(6, 0, 0, &[0; 8]), frame(7, 0, 0, &[0; 8])]);
    after("ok-huge-frame", &[vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]]);
    let timeout = [&headers[..], &[0x40, 12], b"grpc-timeout", &[2], b"1n"].concat();
    after("ok-timeout", &[frame(1, 5, 1, &timeout)]);
    write("handshake", "ok-rubbish-instead-of-http2", [&[3], &b"GET / HTTP/1.1\r\n\r\n"[..]].concat());
}

/// One revocation, by the octet that fills its key.
fn revocation(key: u8, epoch: u32, counter: u32, ends_at: u64) -> Vec<u8> {
    [&[key; 16][..], &epoch.to_be_bytes(), &counter.to_be_bytes(), &ends_at.to_be_bytes(), &[key; 16]]
        .concat()
}

fn trust_states() {
    const LATER: u64 = 1_800_003_600;
    let [one, two] = [1, 2].map(|key| revocation(key, 5, u32::from(key), LATER));
    let set =
        |name: &str, parts: &[&[u8]]| write("trust-state", name, [&[0], parts.concat().as_slice()].concat());
    set("ok-nothing", &[]);
    set("ok-two", &[&one, &two]);
    set("ok-one-has-ended", &[&revocation(1, 1, 1, 1), &two]);
    set("truncated", &[&one, &two[..47]]);
    set("twice", &[&one, &one]);
    set("out-of-order", &[&two, &one]);
    set("end-of-all-time", &[&revocation(1, 5, 1, u64::MAX)]);
    let changes = |name: &str, additions: u8, parts: &[&[u8]]| {
        write("trust-state", name, [&[1, additions], parts.concat().as_slice()].concat());
    };
    changes("ok-no-change", 0, &[]);
    changes("ok-changes", 2, &[&two, &one, &[3; 16]]);
    changes("ok-added-and-removed", 1, &[&one, &[1; 16]]);
    changes("removed-truncated", 1, &[&one, &[3; 15]]);
    changes("added-truncated", 2, &[&one, &two[..40]]);
    write("trust-state", "neither", [2, 0]);
}

fn trust_updates(ca: &Ca) {
    use avouch_fuzz::protobuf::{message, number};
    const LATER: u64 = 1_800_003_600;
    let generation = |epoch, counter| [number(1, epoch), number(2, counter)].concat();
    let bundle =
        |domain: &str| [message(&[(1, domain.as_bytes()), (2, &ca.root_der)]), number(3, 2)].concat();
    let own = bundle("market.example");
    let sha256 =
        |octets: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref().to_vec();
    let [one, two, three, four] = [(1, 5, 1), (2, 5, 2), (3, 5, 1), (4, 5, 3)]
        .map(|(key, epoch, counter)| revocation(key, epoch, counter, LATER));
    let ended = revocation(3, 5, 1, 0);
    let update = |name: &str, held: u8, fields: &[(u64, &[u8])]| {
        write("trust-update", name, [&[held], message(fields).as_slice()].concat());
    };
    let none = sha256(&[]);
    update("ok-first", 0, &[(1, &generation(6, 0)), (3, &own), (7, &none)]);
    let revoked = [one.clone(), two.clone()].concat();
    let digest = sha256(&revoked);
    update("ok-first-with-revocations", 0, &[(1, &generation(6, 1)), (3, &own), (5, &revoked), (7, &digest)]);
    update(
        "ok-first-federated",
        0,
        &[(1, &generation(6, 1)), (3, &own), (3, &bundle("other.example")), (7, &none)],
    );
    update("wrong-digest", 0, &[(1, &generation(6, 1)), (3, &own), (5, &revoked), (7, &none)]);
    update(
        "another-domain-first",
        0,
        &[(1, &generation(6, 1)), (3, &bundle("other.example")), (3, &own), (7, &none)],
    );
    update("no-bundle", 0, &[(1, &generation(6, 1)), (7, &none)]);
    update("no-generation", 0, &[(3, &own), (7, &none)]);
    update("change-of-nothing-held", 0, &[(1, &generation(5, 3)), (2, &generation(5, 2)), (7, &none)]);

    let added = sha256(&[one.clone(), two.clone(), ended.clone(), four.clone()].concat());
    let base = generation(5, 2);
    update("ok-addition", 1, &[(1, &generation(5, 3)), (2, &base), (5, &four), (7, &added)]);
    let left = sha256(&[one.clone(), ended.clone()].concat());
    update("ok-undone", 1, &[(1, &generation(5, 3)), (2, &base), (6, &[2; 16]), (7, &left)]);
    update("wrong-base", 1, &[(1, &generation(5, 3)), (2, &generation(5, 1)), (5, &four), (7, &added)]);
    update("rolled-back", 1, &[(1, &generation(5, 1)), (3, &own), (7, &none)]);
    update("the-same", 1, &[(1, &base), (3, &own), (7, &none)]);
    update("own-bundle-gone", 1, &[(1, &generation(5, 3)), (2, &base), (4, b"market.example"), (7, &added)]);
    update("revocations-truncated", 1, &[(1, &generation(5, 3)), (2, &base), (5, &four[..47]), (7, &added)]);
    // A restored issuer whose backup has the first revocation alone: the second is kept, and returned.
    update(
        "ok-restored",
        1,
        &[(1, &generation(6, 0)), (3, &own), (5, &one), (7, &sha256(&one)), (8, &generation(5, 1))],
    );
    update(
        "ok-restored-and-undone",
        1,
        &[(1, &generation(6, 0)), (3, &own), (6, &[2; 16]), (7, &none), (8, &generation(5, 1))],
    );
    update("ok-replaced", 1, &[(1, &generation(5, 9)), (3, &own), (5, &three), (7, &sha256(&three))]);
    write("trust-update", "rubbish", [1, 0xff, 0xff, 0xff]);
}

fn main() {
    let ca = Ca::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/root.der");
    std::fs::write(root, &ca.root_der).unwrap();
    chains(&ca);
    requests();
    bundles(&ca);
    handshakes();
    trust_states();
    trust_updates(&ca);
    // What rcgen has no words for.
    let unsigned = der::sequence(&[&der::sequence(&[]), &ecdsa_sha256(), &der::tlv(der::BIT_STRING, &[0])]);
    write("chain", "empty-content", unsigned);
}
