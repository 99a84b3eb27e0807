//! The issuer's part of a fleet, read over its administration socket.

use crate::admin::AdminClient;
use crate::error::FleetError;
use crate::fleet::{Fleet, ForkBranch, ForkRecord, IssuedCertificate, RegisteredEntry, RevocationRecord};
use crate::{lists, problem};
use avouch_api::admin::v1 as admin;
use avouch_api::observe::v1::Workload;
use avouch_time::duration::rounded;
use avouch_time::rfc3339;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};

/// The timeout for all of the issuer's answers. A healthy issuer answers at once; one that does not is reported rather
/// than waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most certificates that are kept, the newest: a dump is to be sent to people.
const MOST_CERTIFICATES: usize = 20_000;

/// The most revocations that are kept, the newest.
const MOST_REVOCATIONS: usize = 20_000;

/// Fills in what the issuer says, and returns the workloads it knows. What it does not say is a problem of the fleet.
pub(crate) async fn ask(client: &mut AdminClient, fleet: &mut Fleet) -> Vec<Workload> {
    let mut workloads = Vec::new();
    let asked = tokio::time::timeout(TIMEOUT, ask_all(client, fleet, &mut workloads)).await;
    match asked {
        Ok(Ok(())) => {}
        Ok(Err(status)) => fleet.issuer_problem = problem::of_status(&status),
        Err(_elapsed) => {
            fleet.issuer_problem =
                format!("the issuer does not answer within {}; see its log", rounded(TIMEOUT));
        }
    }
    workloads
}

async fn ask_all(
    client: &mut AdminClient,
    fleet: &mut Fleet,
    workloads: &mut Vec<Workload>,
) -> Result<(), Status> {
    // What the rest of the fleet depends on comes first, and each answer counts even if the next one fails.
    let bundle = client.get_bundle(admin::GetBundleRequest {}).await?.into_inner();
    fleet.trust_domain = bundle.trust_domain;
    fleet.issuer = client.get_status(admin::GetStatusRequest {}).await?.into_inner().issuer;
    *workloads = lists::list_workloads(client).await?;
    let records = admin::ListRecordsRequest { filter: None, limit: 0 };
    fleet.issuer_records = client.list_records(records).await?.into_inner().records;
    let entries = lists::list_entries(client).await?;
    fleet.entries = entries.into_iter().map(entry).collect();
    let all = admin::ListCertificatesRequest { include_expired: true, ..Default::default() };
    let certificates = lists::list_certificates(client, all, MOST_CERTIFICATES).await?;
    fleet.certificates = certificates.into_iter().map(certificate).collect();
    match ask_revocations(client, fleet).await {
        // An issuer of an older version knows neither revocations nor forks.
        Err(status) if status.code() == Code::Unimplemented => Ok(()),
        asked => asked,
    }
}

async fn ask_revocations(client: &mut AdminClient, fleet: &mut Fleet) -> Result<(), Status> {
    let all = admin::ListRevocationsRequest { include_ended: true, ..Default::default() };
    let (revocations, _lost) = lists::list_revocations(client, all, MOST_REVOCATIONS).await?;
    fleet.revocations = revocations.into_iter().map(revocation).collect();
    let forks = client.list_forks(admin::ListForksRequest { include_ended: false }).await?.into_inner().forks;
    fleet.forks = forks.into_iter().map(fork).collect();
    Ok(())
}

/// A join token for `operator`, for one use in the next minute.
pub(crate) async fn token(client: &mut AdminClient, operator: &str) -> Result<String, FleetError> {
    let ttl = Duration::from_secs(60).try_into().ok();
    let request = admin::CreateTokenRequest { spiffe_id: operator.to_owned(), ttl };
    match client.create_token(request).await {
        Ok(answer) => Ok(answer.into_inner().token),
        Err(status) => {
            let help = (status.code() == tonic::Code::NotFound).then(|| {
                format!(
                    "register it with `avouch entry add {operator} --ttl 10m`, and give it the role operator in each \
                     policy.toml; or ask as somebody else with --as or --identity"
                )
            });
            Err(FleetError::refused(&status, help))
        }
    }
}

fn entry(entry: admin::Entry) -> RegisteredEntry {
    let seconds =
        |span: Option<prost_types::Duration>| span.and_then(|span| u64::try_from(span.seconds).ok());
    RegisteredEntry {
        spiffe_id: entry.spiffe_id,
        svid_ttl_seconds: seconds(entry.svid_ttl),
        recovery_window_seconds: seconds(entry.recovery_window),
        dns_names: entry.dns_names,
        created_at: time(entry.created_at),
        on_fork: entry.on_fork,
        recovery_limit: entry.recovery_limit,
    }
}

fn certificate(certificate: admin::Certificate) -> IssuedCertificate {
    IssuedCertificate {
        serial: certificate.serial,
        spiffe_id: certificate.spiffe_id,
        not_before: time(certificate.not_before),
        not_after: time(certificate.not_after),
        origin: certificate.origin,
        last_seen: time(certificate.last_seen),
        parent: certificate.parent,
        revocation_id: certificate.revocation_id,
    }
}

/// A revocation as a fleet has it.
#[must_use]
pub fn revocation(revocation: admin::Revocation) -> RevocationRecord {
    RevocationRecord {
        id: revocation.id,
        subject: revocation.subject,
        spiffe_id: revocation.spiffe_id,
        reason: revocation.reason,
        actor: revocation.actor,
        created_at: time(revocation.created_at),
        expires_at: time(revocation.expires_at),
        undone_at: time(revocation.undone_at),
        undone_by: revocation.undone_by,
        epoch: revocation.epoch,
        counter: revocation.counter,
        serials: revocation.serials,
    }
}

fn fork(fork: admin::Fork) -> ForkRecord {
    let addresses = fork.peer_addresses.into_iter().chain(std::iter::repeat(String::new()));
    let branches = fork.children.into_iter().zip(addresses);
    ForkRecord {
        spiffe_id: fork.spiffe_id,
        serial: fork.serial,
        noticed_at: time(fork.noticed_at),
        revocation_id: fork.revocation_id,
        branches: branches
            .map(|(child, peer_address)| ForkBranch { certificate: certificate(child), peer_address })
            .collect(),
    }
}

/// A time in RFC 3339; empty: never, or not a time.
fn time(at: Option<prost_types::Timestamp>) -> String {
    at.and_then(|at| SystemTime::try_from(at).ok()).map(rfc3339).unwrap_or_default()
}
