//! Calls by a real identity without any role, other than the plain ones to each RPC.

use std::net::SocketAddr;

use super::Made;
use crate::forge::Credentials;
use crate::grpc::{self, Call, Session};
use crate::tls::Approach;

/// A call that nobody without a role may make, and some that nobody may.
#[derive(Debug, Clone, Copy)]
pub struct Unentitled {
    /// Its name.
    pub name: &'static str,
    /// The process of the market that is called.
    pub target: &'static str,
    /// The reason in the record of the side that refuses.
    pub reason: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

/// Headers in which proxies forward the caller's identity, and similar ones.
const FORGED: &[(&str, &str)] = &[
    ("x-forwarded-client-cert", "By=spiffe://market.example/payments;URI=spiffe://market.example/orders"),
    ("x-forwarded-for", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;by=spiffe://market.example/orders"),
    ("x-amzn-mtls-clientcert-subject", "URI=spiffe://market.example/orders"),
    ("x-spiffe-id", "spiffe://market.example/orders"),
    ("avouch-peer", "spiffe://market.example/orders"),
    ("authorization", "Bearer spiffe://market.example/orders"),
    ("baggage", "role=charger,spiffe_id=spiffe://market.example/orders"),
];

const fn at_payments(name: &'static str, path: &'static str, reason: &'static str) -> Unentitled {
    Unentitled { name, target: "payments", reason, path, headers: &[] }
}

/// All calls without a right.
pub const UNENTITLED: &[Unentitled] = &[
    Unentitled {
        headers: FORGED,
        ..at_payments("forged forwarding headers", "/market.payments.v1.Payments/Charge", "ROLE_MISSING")
    },
    at_payments("unknown method", "/market.payments.v1.Payments/Refund", "NO_ALLOW_RULE"),
    at_payments("another service's method", "/market.ledger.v1.Ledger/Post", "ROLE_MISSING"),
    at_payments("a method in other letters", "/market.payments.v1.Payments/charge", "NO_ALLOW_RULE"),
    at_payments("a path with a dot segment", "/grpc.health.v1.Health/../Check", "NO_ALLOW_RULE"),
    Unentitled {
        target: "issuer",
        ..at_payments(
            "administration over the network",
            "/avouch.admin.v1.Admin/ListEntries",
            "NO_ALLOW_RULE",
        )
    },
];

/// Connections with one identity until the server has no more room, and one more.
///
/// Those before it are held meanwhile; that one is refused, or the server would have had more room than `room`.
pub async fn crowding(target: SocketAddr, credentials: &Credentials, room: usize) -> Made {
    let mut held = Vec::with_capacity(room);
    for _ in 0..room {
        // Others may hold some: then a few of these are refused already.
        held.push(Session::open(target, Approach::showing(Some(credentials))).await);
    }
    let call = Call { path: "/grpc.health.v1.Health/Check", ..Call::default() };
    let attempt = grpc::attempt(target, Approach::showing(Some(credentials)), &call).await;
    drop(held);
    Made { name: "all connections for one identity", reason: "HANDSHAKE_LIMIT", names: "holds", attempt }
}

impl Unentitled {
    /// Makes it, with this message.
    pub async fn make(&self, target: SocketAddr, credentials: &Credentials, message: &[u8]) -> Made {
        let call = Call { path: self.path, headers: self.headers, message: message.to_vec() };
        let attempt = grpc::attempt(target, Approach::showing(Some(credentials)), &call).await;
        Made { name: self.name, reason: self.reason, names: "", attempt }
    }
}
