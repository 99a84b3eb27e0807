//! `[upstreams.NAME]`: the services that this one calls, with their addresses and expected SPIFFE IDs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use avouch_identity::{ChannelError, IdentityConfig};
use avouch_spiffe::{Bounds, SpiffeId, SpiffeIdError, TrustDomain};
use config::Value;
use serde::Deserialize;

use super::error::{ConfigError, ConfigFault, in_section};
use super::layers::Layers;
use super::redact::without_credentials;
use super::scalar::Scalar;

/// The bounds of `timeout`.
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
    /// The SPIFFE ID its server must have; a path alone, such as `/ledger`, is of the own trust domain.
    id: String,
    /// Deadline of unary calls that have none of their own; default 10 s. Streams get none.
    #[serde(default)]
    timeout: Option<Scalar>,
}

/// `[upstreams.NAME]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamConfig {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) id: UpstreamId,
    pub(crate) timeout: Option<Duration>,
}

/// The SPIFFE ID that an upstream's server must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamId {
    /// An ID in full.
    Full(SpiffeId),
    /// A path in the trust domain of the process's own identity, which is known once there is an identity.
    Own(String),
}

impl UpstreamId {
    fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.starts_with('/') {
            // The trust domain is a placeholder for the process's own, which is not known yet: only the path is
            // checked.
            let id: SpiffeId = format!("spiffe://own{text}").parse()?;
            return Ok(Self::Own(id.path().to_owned()));
        }
        text.parse().map(Self::Full)
    }

    /// The ID for a process of the trust domain `own`.
    pub(crate) fn resolve(&self, own: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
        match self {
            Self::Full(id) => Ok(id.clone()),
            Self::Own(path) => SpiffeId::new(own, path),
        }
    }
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
        let id = UpstreamId::parse(&self.id).map_err(|error| {
            let expected = format!("must be a SPIFFE ID: who the server must be; {error}");
            ConfigFault::value(&key("id"), &self.id, expected)
        })?;
        if matches!(&id, UpstreamId::Full(id) if id.is_root()) {
            let expected = "names a trust domain and no server in it; add its path";
            return Err(ConfigFault::value(&key("id"), &self.id, expected));
        }
        let timeout = self.timeout.map(|timeout| timeout.within(&key("timeout"), &TIMEOUT)).transpose()?;
        let (host, port) = (address.host().to_owned(), address.port());
        Ok(UpstreamConfig { host, port, id, timeout, url: self.url })
    }
}

/// The checked `[upstreams.NAME]` sections.
pub(super) fn read(layers: &Layers) -> Result<BTreeMap<String, UpstreamConfig>, ConfigError> {
    let one = |(name, value): (String, Value)| {
        let section = format!("upstreams.{name}");
        let raw: RawUpstream = value.try_deserialize().map_err(|error| in_section(&section, &error))?;
        Ok((name, raw.check(&section)?))
    };
    let sections: Option<BTreeMap<String, Value>> = layers.section("upstreams")?;
    sections.into_iter().flatten().map(one).collect()
}

/// Refuses an upstream of a trust domain for which there can be no bundle: every call to it would fail.
///
/// An identity from the issuer comes with the bundle of its own trust domain alone. Only the join token tells which trust
/// domain that is, so all that can be checked is that the upstreams name one.
pub(super) fn check_trust_domains(
    identity: Option<&IdentityConfig>,
    upstreams: &BTreeMap<String, UpstreamConfig>,
) -> Result<(), ConfigFault> {
    let Some(identity) = identity else { return Ok(()) };
    let federated: BTreeSet<TrustDomain> = identity.federated().into_iter().collect();
    let mut own = identity.own_trust_domain();
    for (name, upstream) in upstreams {
        let UpstreamId::Full(id) = &upstream.id else { continue };
        let domain = id.trust_domain();
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
                return Err(ConfigFault::value(&format!("upstreams.{name}.id"), id, expected));
            }
            Some(_) => {}
            None => own = Some(domain.clone()),
        }
    }
    Ok(())
}
