//! An identity from PEM files that somebody else keeps fresh (SPIRE's helper, cert-manager, a cron job).
//!
//! The files are read as one: a new certificate is taken only together with its key, so a change seen half-way is
//! retried, not used. Whatever is unusable leaves the last good state in place, loudly. Another identity than the
//! first one is refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_spiffe::{BundleSet, SpiffeId};

use super::{IdentityError, Surroundings, pem};
use crate::config::FilesConfig;
use crate::snapshot::{Identity, Publisher, Snapshot};
use crate::svid::Svid;

/// Reads the files once, then watches them in the background.
pub(super) fn start(config: FilesConfig, surroundings: Surroundings) -> Result<Identity, IdentityError> {
    let read = Contents::read(&config)?;
    let (svid, bundles) = read.parse(&config, config.spiffe_id.as_ref())?;
    surroundings.issued("files", &svid);
    let id = svid.spiffe_id().clone();
    let (publisher, identity) =
        Identity::publisher_with_clock(Snapshot::new(svid, bundles), surroundings.clock.clone());
    let publisher = Arc::new(publisher);
    let task = surroundings.clone().keep_running(move || {
        watch(config.clone(), id.clone(), read.clone(), publisher.clone(), surroundings.clone())
    });
    Ok(identity.with_source(task))
}

async fn watch(
    config: FilesConfig,
    id: SpiffeId,
    mut used: Contents,
    publisher: Arc<Publisher>,
    surroundings: Surroundings,
) {
    let mut failed: Option<Contents> = None;
    loop {
        tokio::time::sleep(Duration::from_millis(config.poll_ms.max(10))).await;
        warn_of_expiry(&publisher, &surroundings, config.poll_ms);
        let read = match Contents::read(&config) {
            Ok(read) => read,
            Err(error) => {
                surroundings.failed("files", &error);
                continue;
            }
        };
        if read == used || failed.as_ref() == Some(&read) {
            continue;
        }
        match read.parse(&config, Some(&id)) {
            Ok((svid, bundles)) => {
                surroundings.issued("files", &svid);
                publisher.publish(svid, bundles);
                used = read;
                failed = None;
            }
            Err(error) => {
                // Certificate and key may be replaced one after the other: say it once, and look again.
                surroundings.failed("files", &error);
                failed = Some(read);
            }
        }
    }
}

/// Says so once when the SVID in use has just expired.
fn warn_of_expiry(publisher: &Publisher, surroundings: &Surroundings, poll_ms: u64) {
    let now = surroundings.clock.now();
    let not_after = publisher.current().svid.not_after();
    let since = now.duration_since(not_after).unwrap_or(Duration::MAX);
    if now > not_after && since < Duration::from_millis(poll_ms.max(10)) {
        tracing::error!(
            expired = since_epoch(not_after),
            "the SVID files have expired and nobody has renewed them; peers refuse this workload from now on"
        );
    }
}

fn since_epoch(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The files' bytes, as read in one go.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    bundle: Vec<u8>,
    federated: Vec<Vec<u8>>,
}

impl Contents {
    fn read(config: &FilesConfig) -> Result<Self, IdentityError> {
        Ok(Self {
            certificate: pem::read(&config.certificate)?,
            key: zeroize::Zeroizing::new(pem::read(&config.key)?),
            bundle: pem::read(&config.bundle)?,
            federated: config
                .federated
                .iter()
                .map(|federated| pem::read(&federated.bundle))
                .collect::<Result<_, _>>()?,
        })
    }

    fn parse(
        &self,
        config: &FilesConfig,
        expected: Option<&SpiffeId>,
    ) -> Result<(Svid, BundleSet), IdentityError> {
        let chain = pem::certificates(&config.certificate, &self.certificate)?;
        let key = pem::private_key(&config.key, &self.key)?;
        let svid = Svid::new(chain, &key)?;
        if let Some(expected) = expected.filter(|expected| *expected != svid.spiffe_id()) {
            let detail = format!("it is for {}", svid.spiffe_id());
            let path = config.certificate.clone();
            tracing::error!(%expected, got = %svid.spiffe_id(), "the certificate file changed its identity");
            return Err(IdentityError::Content { path, expected: "a certificate of this workload", detail });
        }
        let mut bundles = BundleSet::default();
        bundles.insert(pem::bundle(&config.bundle, &self.bundle, svid.spiffe_id().trust_domain())?);
        for (federated, bytes) in config.federated.iter().zip(&self.federated) {
            bundles.insert(pem::bundle(&federated.bundle, bytes, &federated.trust_domain)?);
        }
        Ok((svid, bundles))
    }
}
