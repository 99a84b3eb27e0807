//! Callers that have to be refused, each with exactly the reason it has to be refused with.
//!
//! * `intern`: a valid certificate of this trust domain, but no role → `ROLE_MISSING`.
//! * `nobody`: no certificate → `CLIENT_CERT_MISSING`.
//! * `impostor`: somebody else's identity, certified by a CA of its own → `CERT_UNTRUSTED`.
//!
//! Each attempt gives both sides: what the caller was told, and how the server's record of it is found. These three are
//! told as stories; [`AttackRun`] is the whole list.

mod attack_run;
mod list;
mod peers;

use std::net::SocketAddr;

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::{Authority, Credentials};
use avouch_attacker::grpc;
use avouch_attacker::tls::Approach;
use avouch_identity::{Channel, Identity, Snapshot, Svid, reason};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId};
use market_api::money::v1::Money;
use market_api::orders::v1::Line;
use market_api::payments::v1::{ChargeRequest, payments_client::PaymentsClient};
use market_api::storefront::v1::{PlaceOrderRequest, storefront_client::StorefrontClient};
use tonic::Status;
use tonic_types::StatusExt as _;

pub use attack_run::{AttackRun, Sleepers};

/// The refusal as the caller saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// gRPC code or TLS alert.
    pub answer: String,
    /// The reason it was given.
    pub reason: Option<String>,
    /// The message it was given.
    pub message: String,
    /// Where the server's record is to be looked up: field and value.
    pub record: Option<(&'static str, String)>,
}

/// Reads what a refused call was told.
#[must_use]
pub fn told(status: &Status) -> Attempt {
    let details = status.get_error_details();
    let decision = details.request_info().map(|info| ("decision_id", info.request_id.clone()));
    let address = details.error_info().and_then(|info| info.metadata.get("client_address").cloned());
    Attempt {
        answer: code_name(status.code()),
        reason: reason(status).map(|reason| reason.as_str().to_owned()),
        message: status.message().to_owned(),
        record: decision.or_else(|| address.filter(|a| !a.is_empty()).map(|a| ("peer_addr", a))),
    }
}

/// Tries to charge a customer; must be refused.
///
/// # Errors
/// When it was not.
pub async fn charge(channel: Channel) -> Result<Attempt, String> {
    let request = ChargeRequest {
        key: "stolen-charge".to_owned(),
        customer_id: "cust-0001".to_owned(),
        amount: Some(Money { currency: "EUR".to_owned(), minor_units: 1 }),
    };
    let answer = PaymentsClient::new(channel).charge(request).await;
    answer.err().map(|status| told(&status)).ok_or_else(|| "the charge was taken".to_owned())
}

/// Tries to place an order; must be refused.
///
/// # Errors
/// When it was not.
pub async fn order(channel: Channel) -> Result<Attempt, String> {
    let line = Line { sku: "BOOK-0001".to_owned(), quantity: 1, unit_price_minor: 1 };
    let request = PlaceOrderRequest {
        order_id: "forged-order".to_owned(),
        customer_id: "cust-0001".to_owned(),
        currency: "EUR".to_owned(),
        lines: vec![line],
    };
    let answer = StorefrontClient::new(channel).place_order(request).await;
    answer.err().map(|status| told(&status)).ok_or_else(|| "the order was taken".to_owned())
}

/// gRPC's own word for a code.
fn code_name(code: tonic::Code) -> String {
    let camel = format!("{code:?}");
    let mut name = String::new();
    for (at, c) in camel.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            name.push('_');
        }
        name.extend(c.to_uppercase());
    }
    name
}

/// Connects to a service without a certificate.
///
/// # Errors
/// When the attempt was not refused, or not by TLS.
pub async fn without_certificate(target: SocketAddr) -> Result<Attempt, String> {
    let call = grpc::Call { path: "/market.payments.v1.Payments/Charge", ..grpc::Call::default() };
    let attempt = grpc::attempt(target, Approach::showing(None), &call).await;
    let attempt = attempt.map_err(|error| error.to_string())?;
    match attempt.outcome {
        grpc::Outcome::Disconnected { alert: Some(alert), text } => Ok(Attempt {
            answer: format!("alert {alert}"),
            reason: None,
            message: text,
            record: Some(("peer_addr", attempt.local.to_string())),
        }),
        other => Err(format!("refused with {other:?} instead of an alert")),
    }
}

/// A channel of somebody who claims to be `claimed`, with a certificate of a CA made up on the spot.
///
/// # Errors
/// When the forgery fails on our side already.
pub fn impostor(claimed: &SpiffeId, url: &str, server: SpiffeId, bundle: Bundle) -> Result<Channel, String> {
    let svid = forge(claimed).map_err(|error| error.to_string())?;
    let mut bundles = BundleSet::new();
    bundles.insert(bundle);
    let (_publisher, identity) = Identity::publisher(Snapshot::new(svid, bundles));
    identity.channel(url, server).build().map_err(|error| error.to_string())
}

/// Forges an SVID whose only fault is its issuer. The issuer's certificate is in the chain, since an incomplete chain
/// would be refused for being incomplete.
fn forge(claimed: &SpiffeId) -> Result<Svid, avouch_attacker::Error> {
    let mut made_up = Workshop::new(claimed.trust_domain().as_str(), claimed.path())?;
    made_up.signing = Authority::root("somebody else's CA", made_up.now)?;
    let Credentials { chain, key } = made_up.right()?;
    Ok(Svid::new(chain, &key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forged_certificate_is_a_good_one_but_for_its_issuer() {
        let claimed: SpiffeId = "spiffe://market.example/dev".parse().unwrap();
        assert_eq!(forge(&claimed).unwrap().spiffe_id(), &claimed);
    }

    #[test]
    fn codes_are_called_by_grpcs_names() {
        assert_eq!(code_name(tonic::Code::PermissionDenied), "PERMISSION_DENIED");
        assert_eq!(code_name(tonic::Code::Ok), "OK");
    }

    #[test]
    fn a_refused_connection_names_the_address_its_record_has() {
        let reason: avouch_spiffe::Reason = "HANDSHAKE_REFUSED".parse().unwrap();
        let status = avouch_identity::status(reason, "no", [("client_address", "127.0.0.1:9".to_owned())]);
        let attempt = told(&status);
        assert_eq!(attempt.reason.as_deref(), Some("HANDSHAKE_REFUSED"));
        assert_eq!(attempt.record, Some(("peer_addr", "127.0.0.1:9".to_owned())));
    }

    #[test]
    fn a_status_of_nobodys_has_no_reason_and_no_record() {
        let attempt = told(&Status::unavailable("away"));
        assert_eq!((attempt.reason, attempt.record), (None, None));
    }
}
