//! A fleet in good order that tests break in one place each.

use avouch_api::observe::v1::*;
use avouch_fleet::{Fleet, Member, RegisteredEntry};

pub(crate) const NOW: &str = "2026-11-25T12:00:00.000Z";
pub(crate) const ORDERS: &str = "spiffe://market.example/orders";
pub(crate) const LEDGER: &str = "spiffe://market.example/ledger";
pub(crate) const REPORTS: &str = "spiffe://market.example/reports";
pub(crate) const POST: &str = "/market.ledger.v1.Ledger/Post";
pub(crate) const READ: &str = "/market.ledger.v1.Ledger/List";

pub(crate) const POLICY: &str = r#"# Who may what.
[roles]
ledger-writer = ["spiffe://market.example/payments"]
ledger-reader = [
    "spiffe://market.example/reports", # every night
]
operator = ["spiffe://market.example/operator"]

[[deny]]
caller = "spiffe://market.example/quarantine/*"
"#;

/// The issuer, orders and ledger, all well.
pub(crate) fn fleet() -> Fleet {
    Fleet {
        taken_at: NOW.to_owned(),
        trust_domain: "market.example".to_owned(),
        issuer: Some(issuer()),
        operator: "spiffe://market.example/operator".to_owned(),
        entries: [ORDERS, LEDGER, REPORTS].map(entry).into(),
        members: vec![member(ORDERS, "127.0.0.1:7004"), member(LEDGER, "127.0.0.1:7001")],
        ..Fleet::default()
    }
}

fn entry(id: &str) -> RegisteredEntry {
    RegisteredEntry { spiffe_id: id.to_owned(), ..RegisteredEntry::default() }
}

fn issuer() -> Issuer {
    let mut process = status("spiffe://market.example/avouch/issuer", "127.0.0.1:7000");
    process.trust_stream = String::new();
    process.issuer_clock_at = String::new();
    process.listener = Some(Listener { optional_client_certificate: true, ..listener() });
    Issuer {
        process: Some(process),
        addresses: vec!["127.0.0.1:7000".to_owned()],
        signing: vec![authority("CN=signing 1", "aa", "2026-11-01T00:00:00Z", "2027-01-30T00:00:00Z")],
        entries: 3,
        certificates: 4,
        epoch: 1_800_000_000,
        counter: 3,
        revocations: 1,
        ..Issuer::default()
    }
}

pub(crate) fn member(id: &str, address: &str) -> Member {
    Member {
        workload: Workload {
            spiffe_id: id.to_owned(),
            addresses: vec![address.to_owned()],
            bundle_sequence: 7,
            seen_at: NOW.to_owned(),
            ..Workload::default()
        },
        address: address.to_owned(),
        status: Some(status(id, address)),
        policy: Some(policy()),
        edges: vec![Edge {
            peer_id: "spiffe://market.example/payments".to_owned(),
            method: POST.to_owned(),
            allowed: 12,
            tls_version: "TLSv1_3".to_owned(),
            group: "X25519MLKEM768".to_owned(),
            ..Edge::default()
        }],
        ..Member::default()
    }
}

fn status(id: &str, address: &str) -> Status {
    Status {
        service: id.rsplit('/').next().unwrap_or_default().to_owned(),
        now: NOW.to_owned(),
        spiffe_id: id.to_owned(),
        listen: address.to_owned(),
        health_listen: "127.0.0.1:7100".to_owned(),
        phase: "serving".to_owned(),
        svid: Some(Svid {
            serial: "0a1b".to_owned(),
            not_before: "2026-11-25T11:45:00Z".to_owned(),
            not_after: "2026-11-25T12:45:00Z".to_owned(),
            key_matches: true,
            authorities: Vec::new(),
        }),
        last_renewal: Some(Renewal {
            how: "renew".to_owned(),
            at: "2026-11-25T11:45:30.000Z".to_owned(),
            error: String::new(),
        }),
        bundle: Some(TrustBundle {
            trust_domain: "market.example".to_owned(),
            sequence: 7,
            roots: vec![authority("CN=root", "bb", "2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z")],
        }),
        trust_stream: "up".to_owned(),
        clock_ahead_millis: -12,
        issuer_clock_at: "2026-11-25T11:59:30.000Z".to_owned(),
        policy: Some(PolicyState {
            source: "/etc/avouch/policy.toml".to_owned(),
            version: "0123456789ab".to_owned(),
            since: "2026-11-20T08:00:00.000Z".to_owned(),
            tests: 3,
            ..PolicyState::default()
        }),
        listener: Some(listener()),
        records: Some(Records { capacity: 4096, ..Records::default() }),
        disks: vec![Disk {
            path: "/var/lib/avouch".to_owned(),
            free_bytes: 60,
            total_bytes: 100,
            problem: String::new(),
        }],
        upstreams: vec![Upstream {
            name: "ledger".to_owned(),
            url: "https://127.0.0.1:7001".to_owned(),
            spiffe_id: LEDGER.to_owned(),
        }],
        shares: vec![Share {
            resource: "connections".to_owned(),
            used: 3,
            limit: 16_384,
            refused: 0,
            holders: vec![ShareHolder {
                spiffe_id: ORDERS.to_owned(),
                network: "127.0.0.1".to_owned(),
                held: 3,
            }],
        }],
        trust: Some(TrustState {
            epoch: 1_800_000_000,
            counter: 3,
            revocations: 1,
            since: "2026-11-25T11:50:00.000Z".to_owned(),
            outage_budget_seconds: 2_700,
            ..TrustState::default()
        }),
        ..Status::default()
    }
}

fn listener() -> Listener {
    Listener {
        tls_versions: vec!["TLSv1_3".to_owned()],
        groups: vec!["X25519MLKEM768".to_owned(), "X25519".to_owned()],
        resumption: false,
        optional_client_certificate: false,
    }
}

pub(crate) fn authority(subject: &str, print: &str, from: &str, until: &str) -> Authority {
    Authority {
        subject: subject.to_owned(),
        key_id: print.to_owned(),
        fingerprint: print.to_owned(),
        not_before: from.to_owned(),
        not_after: until.to_owned(),
    }
}

pub(crate) fn policy() -> GetPolicyResponse {
    let roles = |path: &str, roles: &[&str]| Method {
        path: path.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Method::default()
    };
    let open =
        Method { path: "/market.ledger.v1.Ledger/Knock".to_owned(), any_identity: true, ..Method::default() };
    let admin =
        Method { path: "/market.ledger.v1.Ledger/Close".to_owned(), local_admin: true, ..Method::default() };
    GetPolicyResponse {
        current: Some(Policy {
            source: "/etc/avouch/policy.toml".to_owned(),
            version: "0123456789ab".to_owned(),
            since: "2026-11-20T08:00:00.000Z".to_owned(),
            text: POLICY.to_owned(),
        }),
        previous: None,
        methods: vec![
            roles(POST, &["ledger-writer"]),
            roles(READ, &["ledger-reader", "auditor"]),
            roles("/avouch.observe.v1.Observe/GetStatus", &["debug", "operator"]),
            open,
            admin,
        ],
    }
}

/// The policy of `fleet`'s member at `at`.
pub(crate) fn policy_of(fleet: &mut Fleet, at: usize) -> &mut GetPolicyResponse {
    fleet.members[at].policy.as_mut().unwrap()
}

/// The status of `fleet`'s member at `at`.
pub(crate) fn status_of(fleet: &mut Fleet, at: usize) -> &mut Status {
    fleet.members[at].status.as_mut().unwrap()
}

/// The status of the issuer's process.
pub(crate) fn issuer_of(fleet: &mut Fleet) -> &mut Status {
    fleet.issuer.as_mut().unwrap().process.as_mut().unwrap()
}
