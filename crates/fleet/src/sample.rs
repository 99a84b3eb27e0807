//! A small fleet, for tests of what is made of one: a dump of it is literal, with every kind of thing once.

use avouch_api::observe::v1::{Connection, Decision, Edge, Issuer, Record, Status, Svid, Workload};
use avouch_fleet::{
    Fleet, ForkBranch, ForkRecord, IssuedCertificate, Member, RegisteredEntry, RevocationRecord,
};

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(crate) fn id(path: &str) -> String {
    format!("spiffe://market.example/{path}")
}

/// Seconds after eight.
fn at(seconds: u32) -> String {
    format!("2027-01-15T08:{:02}:{:02}.000Z", seconds / 60, seconds % 60)
}

fn member(path: &str, address: &str) -> Member {
    Member {
        workload: Workload {
            spiffe_id: id(path),
            addresses: vec![address.to_owned()],
            bundle_sequence: 1,
            seen_at: at(0),
            epoch: 1_800_000_000,
            counter: 2,
            instance: "5f".repeat(16),
            serial: format!("5e{path}"),
        },
        address: address.to_owned(),
        status: Some(Status {
            service: path.to_owned(),
            spiffe_id: id(path),
            phase: "serving".to_owned(),
            svid: Some(Svid { serial: format!("5e{path}"), ..Svid::default() }),
            ..Status::default()
        }),
        ..Member::default()
    }
}

pub(crate) fn connection(number: u32, peer: &str, seconds: u32) -> Connection {
    Connection {
        id: format!("conn-{number:016x}"),
        time: at(seconds),
        peer_address: format!("127.0.0.1:{}", 50_000 + number),
        local_address: "10.0.0.1:7001".to_owned(),
        peer_id: id(peer),
        peer_serial: "0a1b".to_owned(),
        peer_not_after: at(900),
        verdict: "accepted".to_owned(),
        tls_version: "TLSv1_3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        group: "X25519MLKEM768".to_owned(),
        handshake_micros: 1_250,
        ..Connection::default()
    }
}

pub(crate) fn decision(peer: &str, method: &str, seconds: u32) -> Decision {
    Decision {
        time: at(seconds),
        peer: id(peer),
        method: method.to_owned(),
        verdict: "allowed".to_owned(),
        ..Decision::default()
    }
}

fn of(connection: Connection) -> Record {
    Record { connection: Some(connection), decision: None }
}

fn about(decision: Decision) -> Record {
    Record { connection: None, decision: Some(decision) }
}

fn edge(peer: &str, method: &str, [allowed, failed, refused, audited]: [u64; 4]) -> Edge {
    Edge {
        peer_id: id(peer),
        method: method.to_owned(),
        allowed,
        failed,
        refused,
        audited,
        retired: 0,
        since: at(0),
        last_at: at(300),
        tls_version: "TLSv1_3".to_owned(),
        group: "X25519MLKEM768".to_owned(),
        peer_not_after: at(1_800),
    }
}

fn orders() -> Member {
    Member {
        edges: vec![
            edge("storefront", "/market.orders.v1.Orders/Place", [1_200, 3, 0, 0]),
            edge("dev", "/market.orders.v1.Orders/Place", [0, 0, 2, 0]),
        ],
        records: vec![
            of(connection(1, "dev", 2)),
            about(Decision {
                id: "d-0000000000000001".to_owned(),
                connection_id: "conn-0000000000000001".to_owned(),
                trace_id: TRACE.to_owned(),
                verdict: "refused".to_owned(),
                reason: "ROLE_MISSING".to_owned(),
                need: vec!["shopper".to_owned()],
                have: vec!["auditor".to_owned()],
                suppressed: 3,
                ..decision("dev", "/market.orders.v1.Orders/Place", 3)
            }),
            of(Connection {
                verdict: "refused".to_owned(),
                reason: "CERT_EXPIRED".to_owned(),
                detail: "the leaf has expired".to_owned(),
                peer_serial: "ff00".to_owned(),
                group: String::new(),
                ..connection(2, "late", 5)
            }),
        ],
        ..member("orders", "127.0.0.1:7001")
    }
}

fn ledger() -> Member {
    Member {
        edges: vec![edge("orders", "/market.ledger.v1.Ledger/Post", [300, 0, 0, 7])],
        records: vec![
            of(Connection { peer_serial: "77".to_owned(), ..connection(3, "orders", 1) }),
            about(Decision {
                trace_id: TRACE.to_owned(),
                verdict: "audited".to_owned(),
                reason: "ROLE_MISSING".to_owned(),
                id: "d-0000000000000002".to_owned(),
                ..decision("dev", "/market.ledger.v1.Ledger/Post", 6)
            }),
            about(decision("orders", "/market.ledger.v1.Ledger/Post", 7)),
        ],
        ..member("ledger", "127.0.0.1:7002")
    }
}

pub(crate) fn fleet() -> Fleet {
    let silent = Member {
        problem: "PEER_CONNECTION_CLOSED: cannot connect".to_owned(),
        reason: "PEER_CONNECTION_CLOSED".to_owned(),
        status: None,
        ..member("dark", "127.0.0.1:7003")
    };
    Fleet {
        taken_at: "2027-01-15T08:10:00Z".to_owned(),
        trust_domain: "market.example".to_owned(),
        issuer: Some(Issuer {
            process: Some(Status { spiffe_id: id("avouch/issuer"), ..Status::default() }),
            entries: 1,
            ..Issuer::default()
        }),
        issuer_records: vec![about(Decision {
            id: "d-00000000000000ff".to_owned(),
            peer: "anonymous".to_owned(),
            verdict: "refused".to_owned(),
            reason: "JOIN_TOKEN_EXPIRED".to_owned(),
            ..decision("x", "/avouch.issuer.v1.Issuer/Enroll", 4)
        })],
        operator: id("operator"),
        entries: vec![RegisteredEntry {
            spiffe_id: id("dev"),
            svid_ttl_seconds: Some(600),
            dns_names: vec!["localhost".to_owned()],
            created_at: "2027-01-15T07:00:00Z".to_owned(),
            ..RegisteredEntry::default()
        }],
        certificates: vec![IssuedCertificate {
            serial: "0a1b".to_owned(),
            spiffe_id: id("dev"),
            not_before: at(0),
            not_after: at(900),
            origin: "enroll".to_owned(),
            last_seen: String::new(),
            parent: "0a1a".to_owned(),
            revocation_id: 0,
        }],
        members: vec![silent, ledger(), orders()],
        revocations: vec![RevocationRecord {
            id: 7,
            subject: "serial:ff00".to_owned(),
            spiffe_id: id("late"),
            reason: "laptop stolen".to_owned(),
            actor: "uid 1000".to_owned(),
            created_at: at(4),
            epoch: 1_800_000_000,
            counter: 2,
            serials: vec!["ff00".to_owned()],
            ..RevocationRecord::default()
        }],
        forks: vec![ForkRecord {
            spiffe_id: id("dev"),
            serial: "0a1a".to_owned(),
            noticed_at: at(3),
            revocation_id: 0,
            branches: vec![ForkBranch {
                certificate: IssuedCertificate { serial: "0a1b".to_owned(), ..IssuedCertificate::default() },
                peer_address: "192.0.2.7:50001".to_owned(),
            }],
        }],
        ..Fleet::default()
    }
}
