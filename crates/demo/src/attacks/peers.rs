//! Attacks that need something of the market itself: false servers for an honest client, and a real identity that calls
//! every RPC there is.

use std::net::SocketAddr;

use avouch_attacker::Error;
use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{self, Call};
use avouch_attacker::impostor::Impostor;
use avouch_attacker::list::{self as attacker, False, UNENTITLED};
use avouch_attacker::tls::Approach;
use avouch_identity::{Identity, reason};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::contract::{MethodRule, Rule};
use market_api::payments::v1::payments_client::PaymentsClient;

use super::list::{Expected, Tried};
use crate::facts::{Attack, AttackKind};
use crate::paths::{Paths, TRUST_DOMAIN, id};

/// Forges in the name of a service, with the authorities of the running issuer, whose files are read as a thief would.
pub(super) fn workshop(paths: &Paths, service: &str) -> Result<Workshop, Error> {
    Workshop::stolen(&paths.of_process("issuer").join("data"), TRUST_DOMAIN, &format!("/{service}"))
}

/// Every forged certificate, shown by a false `payments` to an honest client, and a good one of `other`.
pub(super) async fn servers(
    payments: &Workshop,
    other: &Workshop,
    client: &Identity,
) -> Result<Vec<Attack>, Error> {
    let mut attacks = Vec::new();
    for False { name, reason, names, credentials } in attacker::servers(payments, other)? {
        let expected = Expected { kind: AttackKind::Server, name, target: "dev", reason, names };
        attacks.push(server(&credentials, expected, client).await?);
    }
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
        let (kind, reason) = (AttackKind::Call, "ROLE_MISSING");
        let expected = Expected { kind, name: &name, target, reason, names: "" };
        tried.push(Tried::new(expected, &attempt));
    }
    for call in UNENTITLED {
        let made = call.make(address(call.target)?, intern, &[]).await;
        tried.push(Tried::of(AttackKind::Call, call.target, &made));
    }
    Ok(tried)
}

/// `orders` of `/market.orders.v1.Orders/PlaceOrder`.
fn service_of(method: &MethodRule) -> Result<&'static str, Error> {
    let package = method.path.split('.').nth(1).unwrap_or_default();
    let known = crate::paths::SERVICES.iter().copied().find(|service| *service == package);
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
