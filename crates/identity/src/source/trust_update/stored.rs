//! The file form of a held state: a whole `TrustUpdate`, as the issuer sends it.
//!
//! Two things differ. `revoked` has all revocations in use, also those that the issuer does not know, whose keys are in
//! `restored`. `digest`, the last field, is of all the bytes before it: a damaged bundle is noticed as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use avouch_api::issuer::v1 as api;
use avouch_spiffe::trust_state::Changes;
use avouch_spiffe::x509::sha256;
use avouch_spiffe::{Bundle, Generation, Revocations, TrustDomain, TrustState};
use prost::Message as _;

use super::{HeldTrust, TrustUpdateError, generation, read_bundles};

/// The bytes of the field `digest`: its tag, its length and SHA-256.
const DIGEST_FIELD: usize = 2 + 32;

impl HeldTrust {
    /// The bytes of the file.
    pub fn to_bytes(&self, own: &TrustDomain) -> Vec<u8> {
        let bundles = &self.state.bundles;
        let others = bundles.iter().filter(|bundle| bundle.trust_domain() != own);
        let Generation { epoch, counter } = self.state.generation;
        let mut file = api::TrustUpdate {
            generation: Some(api::Generation { epoch, counter }),
            bundles: bundles.get(own).into_iter().chain(others).map(|bundle| wire(bundle)).collect(),
            revoked: self.state.revocations.encode(),
            restored: self.unknown.iter().flat_map(|key| key.0).collect(),
            ..api::TrustUpdate::default()
        }
        .encode_to_vec();
        let digest = sha256(&file).to_vec();
        // Messages behind one another are one message.
        file.extend(api::TrustUpdate { digest, ..api::TrustUpdate::default() }.encode_to_vec());
        file
    }

    /// Reads what [`HeldTrust::to_bytes`] wrote, with the own trust domain that it was written for.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing is taken of a file that is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<(TrustDomain, Self), TrustUpdateError> {
        let file = api::TrustUpdate::decode(bytes)?;
        let body = bytes.len().checked_sub(DIGEST_FIELD).and_then(|length| bytes.get(..length));
        if body.is_none_or(|body| sha256(body).as_slice() != file.digest.as_slice()) {
            return Err(TrustUpdateError::Digest);
        }
        let generation = file.generation.map(generation).ok_or(TrustUpdateError::NoGeneration)?;
        let bundles = read_bundles(&file.bundles)?;
        let own = bundles.first().map(|first| first.trust_domain().clone());
        let own = own.ok_or(TrustUpdateError::NoBundle)?;
        let revocations = Revocations::decode(&file.revoked)?;
        let unknown = Changes::decode(&[], &file.restored)?.removed;
        let unknown: BTreeSet<_> = unknown.into_iter().filter(|key| revocations.get(key).is_some()).collect();
        let (bundles, revocations) = (bundles.into_iter().collect(), Arc::new(revocations));
        let state = TrustState { generation, bundles, revocations };
        Ok((own, Self { state, unknown: Arc::new(unknown) }))
    }
}

fn wire(bundle: &Bundle) -> api::TrustBundle {
    api::TrustBundle {
        trust_domain: bundle.trust_domain().to_string(),
        x509_authorities: bundle.authorities().iter().map(|authority| authority.der().to_vec()).collect(),
        sequence: bundle.sequence(),
    }
}
