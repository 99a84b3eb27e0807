//! As who the workloads are asked: an identity from files, or one that is enrolled for this run and kept in memory.
//!
//! The second is open to the local administrator alone, who may have tokens made. Its key and its certificate never
//! leave this process, and end with it.

use super::{Fleet, issuer};
use crate::args::Sources;
use crate::error::CliError;
use crate::roots::IdentityFiles;
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::observe::v1::Issuer;
use avouch_identity::{FilesConfig, Identity, IdentityConfig, IssuerConfig};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::clock::{Clock, SystemClock};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;

/// The last segment of the default operator's SPIFFE ID.
const OPERATOR: &str = "operator";

/// How long enrolling may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// From a directory of files, which must be of `whose` if that is said.
///
/// # Errors
/// When the files are not there, make no identity, or that of somebody else.
pub(super) async fn from_files(dir: &Path, whose: Option<&SpiffeId>) -> Result<Identity, CliError> {
    // Looked at first, by the one who knows what can be in the place of a key.
    let (files, _key) = IdentityFiles::find(dir)?;
    let config = IdentityConfig::Files(FilesConfig {
        certificate: files.certificate,
        key: files.key,
        bundle: files.bundle.unwrap_or_else(|| dir.join("bundle.pem")),
        federated: Vec::new(),
        poll_ms: 1_000,
        spiffe_id: whose.cloned(),
    });
    let whose = whose.map(|id| format!("of {id} ")).unwrap_or_default();
    let whose = format!("{whose}in {}", dir.display());
    Identity::start(config).await.map_err(|error| CliError::identity(whose, error))
}

/// Enrolls at the issuer, by a token that it makes for the local administrator.
///
/// # Errors
/// When the operator is not registered, or the issuer does not answer where it says workloads reach it.
pub(super) async fn enrolled(
    client: &mut AdminClient<Channel>,
    fleet: &Fleet,
    sources: &Sources,
) -> Result<Identity, CliError> {
    let operator = match &sources.operator {
        Some(operator) => operator.clone(),
        None => default_operator(&fleet.trust_domain)?,
    };
    if let Some(identity) = enrolled_before(&operator) {
        return Ok(identity);
    }
    let address = fleet.issuer.as_ref().and_then(address).ok_or_else(|| {
        CliError::Answer("it does not say where workloads reach it; ask with --identity DIR".to_owned())
    })?;
    let token = issuer::token(client, operator.as_str()).await?;
    let token = token.parse().map_err(|error| CliError::Answer(format!("its token: {error}")))?;
    let config = IdentityConfig::Issuer(IssuerConfig {
        address: address.clone(),
        join_token_file: None,
        state_dir: None,
        addresses: Vec::new(),
        timeout_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
    });
    let starter = Identity::starter(config).join_token(token).patience(PATIENCE);
    let started = starter.start().await;
    let identity =
        started.map_err(|error| CliError::identity(format!("of {operator}, from {address}"), error))?;
    *ENROLLED.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.clone());
    Ok(identity)
}

/// Who asks again and again in one run enrolls once: the identity renews itself.
static ENROLLED: Mutex<Option<Identity>> = Mutex::new(None);

fn enrolled_before(operator: &SpiffeId) -> Option<Identity> {
    let enrolled = ENROLLED.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let snapshot = enrolled.snapshot();
    let holds = snapshot.svid.spiffe_id() == operator && snapshot.svid.not_after() > SystemClock.now();
    holds.then_some(enrolled)
}

fn default_operator(trust_domain: &str) -> Result<SpiffeId, CliError> {
    let id = format!("spiffe://{trust_domain}/{OPERATOR}");
    id.parse().map_err(|error| CliError::Answer(format!("its trust domain {trust_domain:?}: {error}")))
}

/// Where the issuer of this machine is reached: as it advertises, else where it listens.
fn address(issuer: &Issuer) -> Option<String> {
    let listen = issuer.process.as_ref().map(|process| process.listen.clone());
    let mut known = issuer.addresses.iter().cloned().chain(listen).filter(|address| !address.is_empty());
    known.next().map(|address| from_here(&address))
}

/// Whoever listens on all addresses of this machine is reached on the loopback one.
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

    #[test]
    fn an_issuer_is_asked_where_it_advertises_and_else_where_it_listens() {
        let issuer = |addresses: &[&str], listen: &str| Issuer {
            addresses: addresses.iter().map(|at| (*at).to_owned()).collect(),
            process: Some(Status { listen: listen.to_owned(), ..Status::default() }),
            ..Issuer::default()
        };
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
    fn the_default_operator_is_one_of_the_trust_domain() {
        assert_eq!(default_operator("market.example").unwrap().as_str(), "spiffe://market.example/operator");
        assert!(default_operator("Not A Domain").is_err());
    }

    #[tokio::test]
    async fn a_directory_without_an_identity_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let error = from_files(temp.path(), None).await.unwrap_err();
        let text = super::super::problem::of_error(&error);
        assert!(text.contains(&temp.path().display().to_string()) && text.contains("svid.pem"), "{text}");
    }
}
