//! `[upstreams.NAME]`: where the services are that this one calls, and who they must be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use avouch_identity::{ChannelError, IdentityConfig};
use avouch_spiffe::{Bounds, SpiffeId, TrustDomain};
use serde::Deserialize;

use super::error::ConfigFault;
use super::redact::without_credentials;
use super::scalar::Scalar;

/// Of `timeout`.
pub(super) const TIMEOUT: Bounds<Duration> = Bounds::new(
    Duration::from_millis(1),
    Duration::from_secs(24 * 3600),
    "a call takes a round trip, and after a day nobody waits for its answer",
);

/// `[upstreams.NAME]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// `https://host:port`.
    url: String,
    /// The SPIFFE ID its server must have.
    id: String,
    /// Deadline of calls that have none of their own; default 10 s.
    #[serde(default)]
    timeout: Option<Scalar>,
}

/// `[upstreams.NAME]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamConfig {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) id: SpiffeId,
    pub(crate) timeout: Option<Duration>,
}

impl RawUpstream {
    pub(super) fn check(self, section: &str) -> Result<UpstreamConfig, ConfigFault> {
        let key = |key: &str| format!("{section}.{key}");
        let address = avouch_identity::server_address(&self.url).map_err(|error| {
            let expected = match error {
                ChannelError::HostPort { source, .. } => {
                    format!("must be of the form https://host:port; {source}")
                }
                _ => "must be of the form https://host:port; there is no plain-text upstream".to_owned(),
            };
            ConfigFault::value(&key("url"), without_credentials(&self.url), expected)
        })?;
        let id: SpiffeId = self.id.parse().map_err(|error| {
            let expected = format!("must be a SPIFFE ID: who the server must be; {error}");
            ConfigFault::value(&key("id"), &self.id, expected)
        })?;
        if id.is_root() {
            let expected = "names a trust domain and no server in it; add its path";
            return Err(ConfigFault::value(&key("id"), &self.id, expected));
        }
        let timeout = self.timeout.map(|timeout| timeout.within(&key("timeout"), &TIMEOUT)).transpose()?;
        let (host, port) = (address.host().to_owned(), address.port());
        Ok(UpstreamConfig { host, port, id, timeout, url: self.url })
    }
}

/// Refuses an upstream of a trust domain for which there can be no bundle: every call to it would fail.
///
/// An identity from the issuer comes with the bundle of its own trust domain alone. Which that is only the join token
/// tells, so all that is known is that it is one.
pub(super) fn check_trust_domains(
    identity: Option<&IdentityConfig>,
    upstreams: &BTreeMap<String, UpstreamConfig>,
) -> Result<(), ConfigFault> {
    let Some(identity) = identity else { return Ok(()) };
    let federated: BTreeSet<TrustDomain> = identity.federated().into_iter().collect();
    let mut own = identity.own_trust_domain();
    for (name, upstream) in upstreams {
        let domain = upstream.id.trust_domain();
        if federated.contains(domain) {
            continue;
        }
        match &own {
            Some(own) if own != domain => {
                let expected = match identity {
                    IdentityConfig::Files(_) => format!(
                        "is of the trust domain {domain}, and there are bundles of {own} and of those of \
                         identity.federated only"
                    ),
                    IdentityConfig::Issuer(_) => format!(
                        "is of the trust domain {domain}, another upstream is of {own}, and an issuer gives the \
                         bundle of one"
                    ),
                };
                return Err(ConfigFault::value(&format!("upstreams.{name}.id"), &upstream.id, expected));
            }
            Some(_) => {}
            None => own = Some(domain.clone()),
        }
    }
    Ok(())
}
