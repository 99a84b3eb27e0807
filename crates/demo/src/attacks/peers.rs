//! Attacks by whom, and as what: forged certificates at a service and at a client, peers that speak something else,
//! and a real identity that calls what it may not.

use std::net::SocketAddr;

use avouch_attacker::Error;
use avouch_attacker::certificates::{ATTACKS, Workshop};
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{self, Call};
use avouch_attacker::hello::{STRANGE_GROUPS, STRANGE_SUITES, TLS_1_2};
use avouch_attacker::impostor::Impostor;
use avouch_attacker::tls::Approach;
use avouch_identity::{Identity, reason};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::contract::{MethodRule, Rule};
use market_api::payments::v1::payments_client::PaymentsClient;

use super::list::{Expected, Tried, raw};
use crate::facts::{Attack, AttackKind};
use crate::place::{Place, TRUST_DOMAIN, id};

/// What every forgery at a service tries to call.
const CHARGE: &str = "/market.payments.v1.Payments/Charge";

/// Forges in the name of a service, with the authorities of the running issuer, whose files are read as a thief would.
pub(super) fn workshop(place: &Place, service: &str) -> Result<Workshop, Error> {
    Workshop::stolen(&place.of_process("issuer").join("data"), TRUST_DOMAIN, &format!("/{service}"))
}

/// Every forged certificate, shown to `payments`.
pub(super) async fn certificates(workshop: &Workshop, target: SocketAddr) -> Result<Vec<Tried>, Error> {
    let mut tried = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(workshop)?;
        let call = Call { path: CHARGE, ..Call::default() };
        let attempt = grpc::attempt(target, Approach::showing(Some(&credentials)), &call).await;
        tried.push(Tried::new(expected(attack, AttackKind::Certificate, "payments"), &attempt));
    }
    Ok(tried)
}

fn expected<'a>(
    attack: &'a avouch_attacker::certificates::Attack,
    kind: AttackKind,
    target: &'a str,
) -> Expected<'a> {
    Expected { kind, name: attack.name, target, reason: attack.reason, names: attack.names }
}

/// Every forged certificate, shown by a false `payments` to an honest client, and a good one of `other`.
pub(super) async fn servers(
    payments: &Workshop,
    other: &Workshop,
    client: &Identity,
) -> Result<Vec<Attack>, Error> {
    let mut attacks = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(payments)?;
        attacks.push(server(&credentials, expected(attack, AttackKind::Server, "dev"), client).await?);
    }
    let somebody_else = Expected {
        kind: AttackKind::Server,
        name: "a good certificate of another service",
        target: "dev",
        reason: "SERVER_IDENTITY_MISMATCH",
        names: "expected spiffe://market.example/payments, got spiffe://market.example/orders",
    };
    attacks.push(server(&other.right()?, somebody_else, client).await?);
    Ok(attacks)
}

async fn server(
    credentials: &Credentials,
    expected: Expected<'_>,
    client: &Identity,
) -> Result<Attack, Error> {
    let impostor = Impostor::showing(credentials).await?;
    let payments: SpiffeId = id("payments").parse()?;
    let channel = client.channel(&format!("https://{}", impostor.address), payments).build()?;
    let request = market_api::payments::v1::ChargeRequest::default();
    let refused = PaymentsClient::new(channel).charge(request).await.err();
    let (said, detail) = refused.map_or((None, "the call was made".to_owned()), |status| {
        (reason(&status).map(|reason| reason.as_str().to_owned()), status.message().to_owned())
    });
    Ok(expected.judged(said, detail))
}

/// Peers that show nothing, or speak something else.
pub(super) async fn strangers(workshop: &Workshop, target: SocketAddr) -> Result<Vec<Tried>, Error> {
    let expected =
        |name, reason| Expected { kind: AttackKind::Handshake, name, target: "payments", reason, names: "" };
    let call = Call { path: CHARGE, ..Call::default() };
    let nothing = grpc::attempt(target, Approach::showing(None), &call).await;
    let plain = grpc::attempt_in_plaintext(target, &call).await;
    let right = workshop.right()?;
    let mute = Approach { alpn: &[], ..Approach::showing(Some(&right)) };
    let mute = grpc::attempt(target, mute, &call).await;
    let web = raw(target, b"GET / HTTP/1.1\r\nhost: payments\r\n\r\n").await;
    let old = raw(target, &TLS_1_2.bytes()).await;
    let suites = raw(target, &STRANGE_SUITES.bytes()).await;
    let groups = raw(target, &STRANGE_GROUPS.bytes()).await;
    Ok([
        ("no certificate", "CLIENT_CERT_MISSING", nothing),
        ("plaintext HTTP/2", "NOT_TLS", plain),
        ("plaintext HTTP/1.1", "NOT_TLS", web),
        ("a good certificate, but no ALPN", "NO_APPLICATION_PROTOCOL", mute),
        ("a TLS 1.2 ClientHello", "PROTOCOL_VERSION_UNSUPPORTED", old),
        ("no common cipher suite", "CIPHER_SUITE_MISMATCH", suites),
        ("no common group", "CIPHER_SUITE_MISMATCH", groups),
    ]
    .map(|(name, reason, attempt)| Tried::new(expected(name, reason), &attempt))
    .into())
}

/// Headers with which proxies pass on who called, and others that sound like it.
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

/// A real identity without any role calls every RPC there is, and some there are not.
pub(super) async fn calls(
    intern: &Credentials,
    address: impl Fn(&str) -> Result<SocketAddr, Error>,
) -> Result<Vec<Tried>, Error> {
    let mut tried = Vec::new();
    for method in market_api::CONTRACT.methods.iter().filter(|method| matches!(method.rule, Rule::Roles(_))) {
        let target = service_of(method)?;
        let call = Call { path: method.path, ..Call::default() };
        let attempt = grpc::attempt(address(target)?, Approach::showing(Some(intern)), &call).await;
        let name = format!("wrong role: {}", short(method.path));
        tried.push(Tried::new(refused(&name, target, "ROLE_MISSING"), &attempt));
    }
    for (name, target, path, headers, reason) in [
        ("forged forwarding headers", "payments", CHARGE, FORGED, "ROLE_MISSING"),
        ("unknown method", "payments", "/market.payments.v1.Payments/Refund", &[][..], "NO_ALLOW_RULE"),
        ("another service's method", "payments", "/market.ledger.v1.Ledger/Post", &[], "ROLE_MISSING"),
        (
            "a method in other letters",
            "payments",
            "/market.payments.v1.Payments/charge",
            &[],
            "NO_ALLOW_RULE",
        ),
        ("a path with a dot segment", "payments", "/grpc.health.v1.Health/../Check", &[], "NO_ALLOW_RULE"),
        (
            "administration over the network",
            "issuer",
            "/avouch.admin.v1.Admin/ListEntries",
            &[],
            "NO_ALLOW_RULE",
        ),
    ] {
        let call = Call { path, headers, ..Call::default() };
        let attempt = grpc::attempt(address(target)?, Approach::showing(Some(intern)), &call).await;
        tried.push(Tried::new(refused(name, target, reason), &attempt));
    }
    Ok(tried)
}

fn refused<'a>(name: &'a str, target: &'a str, reason: &'a str) -> Expected<'a> {
    Expected { kind: AttackKind::Call, name, target, reason, names: "" }
}

/// `orders` of `/market.orders.v1.Orders/PlaceOrder`.
fn service_of(method: &MethodRule) -> Result<&'static str, Error> {
    let package = method.path.split('.').nth(1).unwrap_or_default();
    let known = crate::place::SERVICES.iter().copied().find(|service| *service == package);
    known.ok_or_else(|| format!("no service of the market serves {}", method.path).into())
}

/// `Orders/PlaceOrder` of `/market.orders.v1.Orders/PlaceOrder`.
fn short(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_market_has_a_service_to_attack() {
        for method in market_api::CONTRACT.methods {
            assert!(service_of(method).is_ok(), "{}", method.path);
        }
    }
}
