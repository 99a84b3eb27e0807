//! Recovery: everything has expired, the key has not.
//!
//! The expired SVID says who we are, a signature by its key over a fresh nonce, this very TLS connection and the new
//! request proves it. Replaying the proof elsewhere proves nothing.

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{BeginRecoveryRequest, IssuedSvid, RecoverRequest};

use super::issuer::{Target, connect, issuer_id};
use super::key::SvidKey;
use super::{IdentityError, Surroundings};
use crate::svid::Svid;
use crate::verify::Trust;

/// Label under which both ends export keying material for the proof (RFC 8446 §7.5).
pub const RECOVERY_BINDING: &str = "EXPORTER-avouch-recovery";

const CONTEXT: &[u8] = b"avouch-recovery-v1\0";

/// What a recovering workload signs: bound to the connection, the nonce and the new request.
pub fn recovery_message(exporter: &[u8; 32], nonce: &[u8], csr: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, csr);
    [CONTEXT, exporter, nonce, digest.as_ref()].concat()
}

/// Recovers the identity of the `expired` SVID for the new `key`. The issuer is verified by `trust`.
pub(super) async fn recover(
    target: &Target,
    surroundings: &Surroundings,
    trust: Trust,
    expired: (&Svid, &SvidKey),
    key: &SvidKey,
) -> Result<IssuedSvid, IdentityError> {
    let (svid, expired_key) = expired;
    let domain = svid.spiffe_id().trust_domain().clone();
    let connection =
        connect(target, surroundings, trust, domain.clone(), issuer_id(&domain)?, "recover").await?;
    let exporter = connection
        .link()
        .exporter
        .ok_or_else(|| IdentityError::Crypto("the connection exports no keying material".to_owned()))?;
    let mut client = IssuerClient::new(connection);
    let refused = |status| IdentityError::Refused { action: "recover", status: Box::new(status) };
    let nonce = client
        .begin_recovery(surroundings.request(BeginRecoveryRequest {}))
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
    };
    let response = client.recover(surroundings.request(request)).await.map_err(refused)?;
    response.into_inner().svid.ok_or_else(|| IdentityError::Answer("it carries no SVID".to_owned()))
}
