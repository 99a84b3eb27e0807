//! The identity with which workloads are asked: one from files, or one that is enrolled for this run and kept in
//! memory.
//!
//! The second is open to the local administrator alone, who may have tokens made. Its key and its certificate never
//! leave this process, and end with it.

use crate::admin::AdminClient;
use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::issuer;
use avouch_api::observe::v1::Issuer;
use avouch_identity::{FilesConfig, Identity, IdentityConfig, IssuerConfig};
use avouch_spiffe::{HostPort, SpiffeId};
use avouch_time::clock::{Clock, SystemClock};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The last segment of the default operator's SPIFFE ID.
const OPERATOR: &str = "operator";

/// The timeout for enrolling.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Loads the identity of `files`.
///
/// # Errors
/// When the files are not there, make no identity, or that of somebody else.
pub(crate) async fn from_files(files: &FilesConfig) -> Result<Identity, FleetError> {
    let whose = files.spiffe_id.as_ref().map(|id| format!("of {id} ")).unwrap_or_default();
    let directory = files.certificate.parent().unwrap_or(&files.certificate);
    let whose = format!("{whose}in {}", directory.display());
    let started = Identity::start(IdentityConfig::Files(files.clone())).await;
    started.map_err(|error| FleetError::identity(whose, error))
}

/// Enrolls at the issuer, by a token that it makes for the local administrator.
///
/// # Errors
/// When the operator is not registered, or the issuer does not answer where it says workloads reach it.
pub(crate) async fn enrolled(
    client: &mut AdminClient,
    fleet: &Fleet,
    operator: Option<&SpiffeId>,
) -> Result<Identity, FleetError> {
    let operator = match operator {
        Some(operator) => operator.clone(),
        None => default_operator(&fleet.trust_domain)?,
    };
    if let Some(identity) = enrolled_before(&operator) {
        return Ok(identity);
    }
    let address = fleet.issuer.as_ref().and_then(address).ok_or_else(|| {
        FleetError::Answer("it does not say where workloads reach it; ask with --identity DIR".to_owned())
    })?;
    let token = issuer::token(client, operator.as_str()).await?;
    let token = token.parse().map_err(|error| FleetError::Answer(format!("its token: {error}")))?;
    let config = IdentityConfig::Issuer(IssuerConfig {
        address: address.clone(),
        join_token_file: None,
        state_dir: None,
        addresses: Vec::new(),
        timeout: TIMEOUT,
    });
    let starter = Identity::starter(config).join_token(token).start_timeout(TIMEOUT);
    let started = starter.start().await;
    let identity =
        started.map_err(|error| FleetError::identity(format!("of {operator}, from {address}"), error))?;
    *ENROLLED.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.clone());
    Ok(identity)
}

/// The identity that was enrolled in this run: whoever asks again and again enrolls once, since it renews itself.
static ENROLLED: Mutex<Option<Identity>> = Mutex::new(None);

fn enrolled_before(operator: &SpiffeId) -> Option<Identity> {
    let enrolled = ENROLLED.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let snapshot = enrolled.snapshot();
    let holds = snapshot.svid.spiffe_id() == operator && snapshot.svid.not_after() > SystemClock.now();
    holds.then_some(enrolled)
}

fn default_operator(trust_domain: &str) -> Result<SpiffeId, FleetError> {
    let id = format!("spiffe://{trust_domain}/{OPERATOR}");
    id.parse().map_err(|error| FleetError::Answer(format!("its trust domain {trust_domain:?}: {error}")))
}

/// Whether the issuer serves its machine alone, so that the workloads it knows are there as well.
pub(crate) fn is_on_loopback(issuer: &Issuer) -> bool {
    let listen = issuer.process.as_ref().map(|process| process.listen.as_str());
    issuer
        .addresses
        .iter()
        .map(String::as_str)
        .chain(listen)
        .any(|address| address.parse::<HostPort>().is_ok_and(|address| address.is_loopback()))
}

/// The address at which the issuer of this machine is reached: as it advertises, else where it listens.
fn address(issuer: &Issuer) -> Option<String> {
    let listen = issuer.process.as_ref().map(|process| process.listen.clone());
    let mut known = issuer.addresses.iter().cloned().chain(listen).filter(|address| !address.is_empty());
    known.next().map(|address| from_here(&address))
}

/// The address to connect to: one that listens on all addresses of this machine is reached on the loopback one.
fn from_here(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(at)) if at.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), at.port()).to_string()
        }
        Ok(SocketAddr::V6(at)) if at.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), at.port()).to_string()
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_api::observe::v1::Status;

    fn issuer(addresses: &[&str], listen: &str) -> Issuer {
        Issuer {
            addresses: addresses.iter().map(|at| (*at).to_owned()).collect(),
            process: Some(Status { listen: listen.to_owned(), ..Status::default() }),
            ..Issuer::default()
        }
    }

    #[test]
    fn an_issuer_is_asked_where_it_advertises_and_else_where_it_listens() {
        for (addresses, listen, expected) in [
            (&["issuer:7000"][..], "0.0.0.0:7000", Some("issuer:7000")),
            (&[], "0.0.0.0:7000", Some("127.0.0.1:7000")),
            (&[], "[::]:7000", Some("[::1]:7000")),
            (&[""], "10.0.0.1:7000", Some("10.0.0.1:7000")),
            (&[], "", None),
        ] {
            assert_eq!(address(&issuer(addresses, listen)).as_deref(), expected);
        }
        assert_eq!(address(&Issuer::default()), None);
    }

    #[test]
    fn an_issuer_is_on_loopback_where_it_listens_or_is_reached_there_and_not_where_it_listens_everywhere() {
        for (addresses, listen, expected) in [
            (&[][..], "127.0.0.1:7000", true),
            (&[], "[::1]:7000", true),
            (&[], "[::ffff:127.0.0.1]:7000", true),
            (&["localhost:7000"], "0.0.0.0:7000", true),
            (&["issuer.market.example:7000"], "127.0.0.1:7000", true),
            (&["issuer.market.example:7000"], "0.0.0.0:7000", false),
            (&[], "0.0.0.0:7000", false),
            (&[], "10.0.0.1:7000", false),
            (&[], "", false),
        ] {
            assert_eq!(is_on_loopback(&issuer(addresses, listen)), expected, "{addresses:?} {listen}");
        }
        assert!(!is_on_loopback(&Issuer::default()));
    }

    #[test]
    fn the_default_operator_is_one_of_the_trust_domain() {
        assert_eq!(default_operator("market.example").unwrap().as_str(), "spiffe://market.example/operator");
        assert!(default_operator("Not A Domain").is_err());
    }
}
