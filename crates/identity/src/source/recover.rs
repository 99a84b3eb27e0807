//! Recovery of an identity whose certificates have expired (ADR 3).
//!
//! The expired SVID names the identity. A signature by its key over a fresh nonce, the exported secret of this TLS
//! connection and the new request proves it, and cannot be replayed elsewhere.

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{BeginRecoveryRequest, Generation, IssuedSvid, RecoverRequest};

use super::context::SourceContext;
use super::error::IdentityError;
use super::issuer_connection::{Target, connect};
use super::key::SvidKey;
use super::recovery_proof::recovery_message;
use crate::svid::Svid;
use crate::verify::Trust;

/// Recovers the identity of the `expired` SVID for the new `key`. The issuer is verified by `trust`,
/// and told which trust state is held.
pub(super) async fn recover(
    target: &Target,
    context: &SourceContext,
    trust: Trust,
    expired: (&Svid, &SvidKey),
    key: &SvidKey,
    held: Generation,
) -> Result<IssuedSvid, IdentityError> {
    let (svid, expired_key) = expired;
    let domain = svid.spiffe_id().trust_domain().clone();
    let connection = connect(target, context, trust, domain.clone(), domain.issuer_id(), "recover").await?;
    let exporter = connection
        .connection()
        .exporter
        .ok_or_else(|| IdentityError::Crypto("the connection exports no keying material".to_owned()))?;
    let mut client = IssuerClient::new(connection);
    let refused = |status| IdentityError::Refused { action: "recover", status: Box::new(status) };
    let nonce = client
        .begin_recovery(context.request(BeginRecoveryRequest {}))
        .await
        .map_err(refused)?
        .into_inner()
        .nonce;
    let csr = key.request()?;
    let request = RecoverRequest {
        expired_chain: svid.chain().iter().map(|der| der.to_vec()).collect(),
        proof: expired_key.sign(&recovery_message(&exporter, &nonce, &csr))?,
        nonce,
        csr,
        held: Some(held),
    };
    let response = client.recover(context.request(request)).await.map_err(refused)?;
    response.into_inner().svid.ok_or_else(|| IdentityError::Answer("it carries no SVID".to_owned()))
}
