//! Callers that have to be refused, each with exactly the reason it has to be refused with.
//!
//! * `intern`: a valid certificate of this trust domain, but no role → `ROLE_MISSING`.
//! * `nobody`: no certificate → `CLIENT_CERT_MISSING`.
//! * `impostor`: somebody else's identity, certified by a CA of its own → `CERT_UNTRUSTED`.
//!
//! Each attempt gives both sides: what the caller was told, and how the server's record of it is found. None of
//! them skips the verification of the server, so a refusal can't be mistaken for a broken connection.

use std::sync::Arc;
use std::time::Duration;

use avouch_identity::{Channel, Identity, Snapshot, Svid, crypto_provider, reason};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId};
use market_api::money::v1::Money;
use market_api::orders::v1::Line;
use market_api::payments::v1::{ChargeRequest, payments_client::PaymentsClient};
use market_api::storefront::v1::{PlaceOrderRequest, storefront_client::StorefrontClient};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::Status;
use tonic_types::StatusExt as _;

/// The longest an attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a refused caller saw.
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

/// Connects without a certificate, as `server_name` of the trust domain of `bundle`.
///
/// # Errors
/// When the attempt was not refused, or not by TLS.
pub async fn without_certificate(
    address: &str,
    server_name: &str,
    bundle: &Bundle,
) -> Result<Attempt, String> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in bundle.authorities() {
        roots.add(CertificateDer::from(authority.der().to_vec())).map_err(|error| error.to_string())?;
    }
    let mut config = rustls::ClientConfig::builder_with_provider(crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(server_name.to_owned()).map_err(|error| error.to_string())?;
    let attempt = async {
        let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let local = tcp.local_addr().map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // In TLS 1.3 the client is done before the server has judged: the verdict arrives with the first read.
        let outcome = match connector.connect(name, tcp).await {
            Ok(mut stream) => stream.read(&mut [0; 64]).await.map(|read| read > 0),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) => Ok((error, local)),
            Ok(_) => Err("the server went on without a certificate".to_owned()),
        }
    };
    let (error, local) =
        tokio::time::timeout(PATIENCE, attempt).await.map_err(|_| "no verdict".to_owned())??;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = tls else {
        return Err(format!("refused with `{error}` instead of an alert"));
    };
    Ok(Attempt {
        answer: format!("alert {}", alert_name(*alert)),
        reason: None,
        message: error.to_string(),
        record: Some(("peer_addr", local.to_string())),
    })
}

fn alert_name(alert: rustls::AlertDescription) -> &'static str {
    match alert {
        rustls::AlertDescription::CertificateRequired => "certificate_required",
        rustls::AlertDescription::UnknownCA => "unknown_ca",
        rustls::AlertDescription::AccessDenied => "access_denied",
        _ => "of another kind",
    }
}

/// A channel of somebody who claims to be `claimed`, with a certificate of a CA made up on the spot.
///
/// # Errors
/// When the forgery fails on our side already.
pub fn impostor(claimed: &SpiffeId, url: &str, server: SpiffeId, bundle: Bundle) -> Result<Channel, String> {
    let svid = forge(claimed)?;
    let mut bundles = BundleSet::new();
    bundles.insert(bundle);
    let (_publisher, identity) = Identity::publisher(Snapshot::new(svid, bundles));
    identity.channel(url, server).build().map_err(|error| error.to_string())
}

fn forge(claimed: &SpiffeId) -> Result<Svid, String> {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, KeyUsagePurpose, SanType,
    };

    let made = |error: rcgen::Error| error.to_string();
    let mut ca = CertificateParams::default();
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(rcgen::DnType::CommonName, "somebody else's CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(made)?).map_err(made)?;

    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf.subject_alt_names = vec![SanType::URI(claimed.as_str().try_into().map_err(made)?)];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(made)?;
    let certificate = leaf.signed_by(&key, &ca).map_err(made)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // With its issuer: a chain that is merely incomplete would be refused for that.
    Svid::new(vec![certificate.der().clone(), ca.der().clone()], &key).map_err(|error| error.to_string())
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
