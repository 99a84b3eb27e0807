//! Facts of an imagined run, for tests of what is drawn from facts. Never part of a real report.

use std::collections::BTreeMap;

use crate::facts::{
    Attack, AttackKind, Certificate, Check, Edge, Explained, Facts, Kill, Matrix, Outcome, Party, PartyKind,
    Problem, Refusal, Rpc, Span, Theft, Totals, Trace,
};

const TD: &str = "spiffe://market.example";

/// A run in which everything held.
#[must_use]
pub fn facts() -> Facts {
    Facts {
        version: "0.1.0".into(),
        started_at: "2026-11-22T17:00:00Z".into(),
        lasted_ms: 47_200,
        trust_domain: "market.example".into(),
        svid_seconds: 20,
        checks: checks(),
        parties: parties(),
        edges: edges(),
        certificates: certificates(),
        kills: vec![
            kill("reports", 1_500, 22_600, 23_100, 0),
            kill("ledger", 6_000, 6_020, 6_400, 3),
            kill("issuer", 12_000, 12_030, 12_500, 0),
        ],
        refusals: refusals(),
        explained: Some(Explained {
            told: "PERMISSION_DENIED ROLE_MISSING: the caller lacks the roles that the RPC asks for; avouch explain \
                   d-0011223344556677"
                .into(),
            command: "avouch explain d-0011223344556677".into(),
            answer: "DENIED spiffe://market.example/intern → payments\n".into(),
        }),
        attacks: attacks(),
        theft: Some(theft()),
        matrix: matrix(),
        trace: Some(trace()),
        totals: Totals {
            lines: 312,
            malformed: 3,
            orders: 309,
            completed: 288,
            rejected: BTreeMap::from([("OUT_OF_STOCK".into(), 12), ("PAYMENT_DECLINED".into(), 9)]),
            calls: 2_140,
            failed_calls: 0,
            failed_in_kill_windows: 3,
            renewals: 27,
            recoveries: 1,
            sales: BTreeMap::from([("EUR".into(), 1_284_550), ("USD".into(), 377_200)]),
            postings: 288,
            pieces: 911,
        },
        problems: vec![Problem {
            line: 17,
            kind: "malformed".into(),
            reason: "EOF while parsing an object (column 44)".into(),
        }],
        next: vec![
            "./just up".into(),
            "openssl verify -x509_strict -CAfile certs/dev/bundle.pem -untrusted certs/dev/svid.pem certs/dev/svid.pem".into(),
            "curl --cert certs/dev/svid.pem --key certs/dev/svid.key --cacert certs/dev/bundle.pem https://localhost:7443/orders --json @deploy/demo/order.json".into(),
        ],
    }
}

fn checks() -> Vec<Check> {
    let check =
        |claim: &str, outcome, detail: &str| Check { claim: claim.into(), outcome, detail: detail.into() };
    vec![
        check("a call with the role it needs is allowed", Outcome::Held, "auditor called Reports/GetSummary"),
        check("every service renewed at least twice", Outcome::Held, "4, 4, 4, 4, 4 and 3 times"),
        check("no call failed outside the kill windows", Outcome::Held, "2140 calls"),
        check("openssl verify accepts the chain", Outcome::Skipped, "no openssl on this machine"),
    ]
}

fn parties() -> Vec<Party> {
    let party = |name: &str, kind, id: Option<String>, roles: &[&str]| Party {
        name: name.into(),
        kind,
        spiffe_id: id,
        roles: roles.iter().map(|role| (*role).into()).collect(),
    };
    let id = |path: &str| Some(format!("{TD}/{path}"));
    vec![
        party("issuer", PartyKind::Issuer, id("avouch/issuer"), &[]),
        party("storefront", PartyKind::Service, id("storefront"), &["order-placer"]),
        party("orders", PartyKind::Service, id("orders"), &["stock-keeper", "charger"]),
        party("inventory", PartyKind::Service, id("inventory"), &[]),
        party("payments", PartyKind::Service, id("payments"), &["ledger-writer"]),
        party("ledger", PartyKind::Service, id("ledger"), &[]),
        party("reports", PartyKind::Service, id("reports"), &["ledger-reader"]),
        party("dev", PartyKind::Client, id("dev"), &["shopper"]),
        party("auditor", PartyKind::Client, id("auditor"), &["auditor"]),
        party("intern", PartyKind::Hostile, id("intern"), &[]),
        party("nobody", PartyKind::Hostile, None, &[]),
        party("impostor", PartyKind::Hostile, id("dev"), &[]),
    ]
}

fn edges() -> Vec<Edge> {
    let edge = |caller: &str, callee: &str, rpcs: &[&str], calls, refused: Option<&str>| Edge {
        caller: caller.into(),
        callee: callee.into(),
        rpcs: rpcs.iter().map(|rpc| (*rpc).into()).collect(),
        calls,
        tls: Some("TLSv1.3".into()),
        group: Some("X25519MLKEM768".into()),
        refused: refused.map(Into::into),
    };
    vec![
        edge("dev", "storefront", &["PlaceOrder"], 4, None),
        edge("storefront", "orders", &["GetOrder", "PlaceOrder"], 330, None),
        edge("orders", "inventory", &["Commit", "Release", "Reserve"], 612, None),
        edge("orders", "payments", &["Charge"], 300, None),
        edge("payments", "ledger", &["Post"], 288, None),
        edge("reports", "ledger", &["Tail"], 3, None),
        edge("auditor", "reports", &["GetSummary"], 1, None),
        edge("auditor", "ledger", &["GetTotals"], 2, None),
        edge("auditor", "orders", &["GetOrder"], 309, None),
        edge("auditor", "inventory", &["GetStock"], 42, None),
        edge("intern", "payments", &["Charge"], 1, Some("ROLE_MISSING")),
        Edge {
            tls: None,
            group: None,
            ..edge("nobody", "payments", &["Charge"], 1, Some("CLIENT_CERT_MISSING"))
        },
        Edge {
            tls: None,
            group: None,
            ..edge("impostor", "storefront", &["PlaceOrder"], 1, Some("CERT_UNTRUSTED"))
        },
    ]
}

fn certificates() -> Vec<Certificate> {
    let mut all = Vec::new();
    for (lane, path) in
        ["avouch/issuer", "storefront", "orders", "inventory", "payments", "ledger", "reports"]
            .iter()
            .enumerate()
    {
        for nth in 0..5_i64 {
            let down = *path == "reports";
            let issued_ms = match (down, nth) {
                (true, 0) => 700,
                (true, _) => 12_700 + nth * 10_000,
                (false, _) => 500 + nth * 9_900 + i64::try_from(lane).unwrap_or(0) * 130,
            };
            let origin = match (*path, nth) {
                ("avouch/issuer", _) => "self",
                (_, 0) => "enroll",
                ("reports", 1) => "recover",
                _ => "renew",
            };
            all.push(Certificate {
                spiffe_id: format!("{TD}/{path}"),
                serial: format!("01{lane:02x}{nth:02x}"),
                origin: origin.into(),
                issued_ms,
                expires_ms: issued_ms + 20_000,
            });
        }
    }
    all.push(Certificate {
        spiffe_id: format!("{TD}/reports"),
        serial: "010699".into(),
        origin: "renew".into(),
        issued_ms: 11_200,
        expires_ms: 31_200,
    });
    all.sort_by_key(|c| c.issued_ms);
    all
}

fn kill(party: &str, killed_ms: u64, restarted_ms: u64, ready_ms: u64, failed_calls: u64) -> Kill {
    Kill { party: party.into(), killed_ms, restarted_ms, ready_ms, failed_calls }
}

fn attacks() -> Vec<Attack> {
    let attack = |kind, name: &str, target: &str, reason: &str, answer: &str, detail: &str| Attack {
        kind,
        name: name.into(),
        target: target.into(),
        expected: reason.into(),
        answer: answer.into(),
        recorded: Some(reason.into()),
        detail: detail.into(),
    };
    vec![
        attack(
            AttackKind::Handshake,
            "plaintext HTTP/2",
            "payments",
            "NOT_TLS",
            "disconnected",
            "received corrupt message",
        ),
        attack(
            AttackKind::Certificate,
            "expired",
            "payments",
            "CERT_EXPIRED",
            "alert CertificateExpired",
            "leaf certificate (spiffe://market.example/orders) expired 60 s ago",
        ),
        attack(
            AttackKind::Issuance,
            "a used join token, with a third key",
            "issuer",
            "JOIN_TOKEN_ALREADY_USED",
            "UNAUTHENTICATED",
            "the join token was used with another key",
        ),
    ]
}

fn theft() -> Theft {
    Theft {
        service: "reports".into(),
        stolen: "010600".into(),
        thieves: vec!["010699".into()],
        owner: "010601".into(),
        stolen_ms: 1_400,
        forked_ms: 22_700,
        noticed_ms: 22_740,
        command: "avouch revoke serial:010699".into(),
        revoked_ms: 23_100,
        closed_ms: 23_109,
        cut_us: 8_700,
        connections: 2,
        told: "CERT_REVOKED".into(),
    }
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal {
            caller: "intern".into(),
            callee: "payments".into(),
            attempt: "a valid certificate of this trust domain, but no role".into(),
            expected: "ROLE_MISSING".into(),
            answer: "PERMISSION_DENIED".into(),
            caller_reason: Some("ROLE_MISSING".into()),
            server_reason: Some("ROLE_MISSING".into()),
            detail: "market.payments.v1.Payments/Charge needs the role charger".into(),
            record: Some("dec-01j8c2".into()),
        },
        Refusal {
            caller: "nobody".into(),
            callee: "payments".into(),
            attempt: "no client certificate".into(),
            expected: "CLIENT_CERT_MISSING".into(),
            answer: "alert certificate_required".into(),
            caller_reason: None,
            server_reason: Some("CLIENT_CERT_MISSING".into()),
            detail: "the peer sent no certificate".into(),
            record: Some("conn-0042".into()),
        },
        Refusal {
            caller: "impostor".into(),
            callee: "storefront".into(),
            attempt: "the identity of dev, certified by another CA".into(),
            expected: "CERT_UNTRUSTED".into(),
            answer: "UNAUTHENTICATED".into(),
            caller_reason: Some("HANDSHAKE_REFUSED".into()),
            server_reason: Some("CERT_UNTRUSTED".into()),
            detail: "no authority of market.example signed this chain".into(),
            record: Some("conn-0043".into()),
        },
    ]
}

fn matrix() -> Matrix {
    let role = |name: &str, who: &[&str]| (name.into(), who.iter().map(|w| format!("{TD}/{w}")).collect());
    let rpc = |path: &str, roles: &[&str]| Rpc {
        path: path.into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        rule: "roles".into(),
    };
    Matrix {
        roles: BTreeMap::from([
            role("shopper", &["dev"]),
            role("order-placer", &["storefront"]),
            role("stock-keeper", &["orders"]),
            role("charger", &["orders"]),
            role("ledger-writer", &["payments"]),
            role("ledger-reader", &["reports"]),
            role("auditor", &["auditor"]),
        ]),
        rpcs: vec![
            rpc("/market.storefront.v1.Storefront/PlaceOrder", &["shopper"]),
            rpc("/market.orders.v1.Orders/PlaceOrder", &["order-placer"]),
            rpc("/market.orders.v1.Orders/GetOrder", &["order-placer", "auditor"]),
            rpc("/market.inventory.v1.Inventory/Reserve", &["stock-keeper"]),
            rpc("/market.payments.v1.Payments/Charge", &["charger"]),
            rpc("/market.ledger.v1.Ledger/Post", &["ledger-writer"]),
            rpc("/market.ledger.v1.Ledger/Tail", &["ledger-reader"]),
            rpc("/market.reports.v1.Reports/GetSummary", &["auditor"]),
            Rpc { path: "/avouch.issuer.v1.Issuer/Renew".into(), roles: vec![], rule: "any_identity".into() },
            Rpc {
                path: "/avouch.issuer.v1.Issuer/Enroll".into(),
                roles: vec![],
                rule: "unauthenticated".into(),
            },
            Rpc {
                path: "/avouch.admin.v1.Admin/CreateEntry".into(),
                roles: vec![],
                rule: "local_admin".into(),
            },
        ],
    }
}

fn trace() -> Trace {
    let span =
        |service: &str, name: &str, kind: &str, depth, start_us, lasted_us, caller: Option<&str>| Span {
            service: service.into(),
            name: name.into(),
            kind: kind.into(),
            depth,
            start_us,
            lasted_us,
            caller: caller.map(|path| format!("{TD}/{path}")),
            decision: caller.map(|_| "allow".into()),
            status: (kind != "internal").then(|| "OK".into()),
        };
    Trace {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        services: ["demo", "inventory", "issuer", "ledger", "orders", "payments", "storefront"]
            .map(String::from)
            .to_vec(),
        spans: vec![
            span("demo", "first order", "internal", 0, 0, 412_000, None),
            span("storefront", "boot", "internal", 1, 3_000, 180_000, None),
            span("storefront", "avouch.issuer.v1.Issuer/Enroll", "client", 2, 21_000, 31_000, None),
            span("issuer", "avouch.issuer.v1.Issuer/Enroll", "server", 3, 33_000, 14_000, None),
            span("issuer", "issue", "internal", 4, 35_000, 9_000, None),
            span("storefront", "market.orders.v1.Orders/PlaceOrder", "client", 2, 301_000, 108_000, None),
            span(
                "orders",
                "market.orders.v1.Orders/PlaceOrder",
                "server",
                3,
                304_000,
                103_000,
                Some("storefront"),
            ),
            span("orders", "market.inventory.v1.Inventory/Reserve", "client", 4, 311_000, 22_000, None),
            span(
                "inventory",
                "market.inventory.v1.Inventory/Reserve",
                "server",
                5,
                313_000,
                17_000,
                Some("orders"),
            ),
            span("orders", "market.payments.v1.Payments/Charge", "client", 4, 335_000, 51_000, None),
            span(
                "payments",
                "market.payments.v1.Payments/Charge",
                "server",
                5,
                338_000,
                46_000,
                Some("orders"),
            ),
            span("payments", "market.ledger.v1.Ledger/Post", "client", 6, 349_000, 28_000, None),
            span("ledger", "market.ledger.v1.Ledger/Post", "server", 7, 352_000, 23_000, Some("payments")),
            span("orders", "market.inventory.v1.Inventory/Commit", "client", 4, 388_000, 16_000, None),
            span(
                "inventory",
                "market.inventory.v1.Inventory/Commit",
                "server",
                5,
                390_000,
                12_000,
                Some("orders"),
            ),
        ],
        lasted_us: 412_000,
    }
}
