//! Connections to the issuer of a workload that has no SVID to show yet, and what its answers must be.

use std::time::Duration;

use avouch_api::issuer::v1::TrustBundle;
use avouch_spiffe::{Bundle, HostPort, HostPortError, SpiffeId, TrustDomain};
use avouch_text::with_causes;
use http::uri::Authority;

use super::context::SourceContext;
use super::error::IdentityError;
use super::recovery_proof::RECOVERY_BINDING;
use crate::channel::connect::Dial;
use crate::channel::http2_connection::Keepalive;
use crate::channel::{BadAddresses, SingleConnection, authority};
use crate::config::IssuerConfig;
use crate::filter::IdentityFilter;
use crate::verify::{ChainLimits, Trust};

/// The address of the issuer.
pub(super) struct Target {
    pub(super) authority: Authority,
    address: HostPort,
    timeout: Duration,
    bad_addresses: BadAddresses,
}

impl Target {
    pub(super) fn parse(config: &IssuerConfig) -> Result<Self, IdentityError> {
        let wrong = |source| IdentityError::Address { address: config.address.clone(), source };
        let address: HostPort = config
            .address
            .parse()
            .and_then(|address: HostPort| address.usable().map(|()| address))
            .map_err(wrong)?;
        let authority = authority(&address).ok_or_else(|| wrong(HostPortError::Brackets))?;
        Ok(Self {
            authority,
            address,
            timeout: config.bounded_timeout(),
            bad_addresses: BadAddresses::default(),
        })
    }
}

/// One connection to the issuer without a certificate of ours.
pub(super) async fn connect(
    target: &Target,
    context: &SourceContext,
    trust: Trust,
    own_domain: TrustDomain,
    issuer: SpiffeId,
    action: &'static str,
) -> Result<SingleConnection, IdentityError> {
    let dial = Dial {
        address: &target.address,
        svid: None,
        trust,
        own_domain: Some(own_domain),
        filter: IdentityFilter::from(issuer),
        limits: ChainLimits::default(),
        clock: context.clock.clone(),
        difference: context.issuer_clock.latest(),
        timeout: target.timeout,
        binding: Some(RECOVERY_BINDING),
        bad_addresses: &target.bad_addresses,
        revocations: None,
    };
    let keepalive = Keepalive { interval: target.timeout, timeout: target.timeout };
    let connection = dial
        .connect(keepalive)
        .await
        .map_err(|failure| IdentityError::Refused { action, status: Box::new(failure.to_status()) })?;
    Ok(SingleConnection::new(connection, target.authority.clone(), target.timeout))
}

/// Checks a bundle that came over the wire.
pub(super) fn parse_bundle(bundle: &TrustBundle, domain: &TrustDomain) -> Result<Bundle, IdentityError> {
    if bundle.trust_domain != domain.as_str() {
        return Err(IdentityError::Answer(format!("its bundle is for {}", bundle.trust_domain)));
    }
    Bundle::from_ders(domain.clone(), &bundle.x509_authorities, bundle.sequence)
        .map_err(|error| IdentityError::Answer(format!("its bundle: {}", with_causes(&error))))
}
