//! The issuer's half of a fleet, as it tells it the local administrator.

use super::problem;
use super::{Certificate, Entry, Fleet};
use crate::error::CliError;
use crate::timespan;
use avouch_api::admin::v1 as admin;
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::observe::v1::Workload;
use std::time::{Duration, SystemTime};
use tonic::Status;
use tonic::transport::Channel;

/// An issuer that is well answers all this at once; one that is not is to be told of, not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest certificates, so many at most: a dump is to be sent to people.
const MOST_CERTIFICATES: usize = 20_000;

/// Fills in what the issuer says, and returns the workloads it knows. What it does not say is a problem of the fleet.
pub(super) async fn ask(client: &mut AdminClient<Channel>, fleet: &mut Fleet) -> Vec<Workload> {
    let mut workloads = Vec::new();
    let asked = tokio::time::timeout(PATIENCE, ask_all(client, fleet, &mut workloads)).await;
    match asked {
        Ok(Ok(())) => {}
        Ok(Err(status)) => fleet.issuer_problem = problem::of_status(&status),
        Err(_elapsed) => {
            fleet.issuer_problem =
                format!("the issuer does not answer within {}; see its log", timespan::display(PATIENCE));
        }
    }
    workloads
}

async fn ask_all(
    client: &mut AdminClient<Channel>,
    fleet: &mut Fleet,
    workloads: &mut Vec<Workload>,
) -> Result<(), Status> {
    // What the rest of the fleet depends on comes first, and each answer counts even if the next one fails.
    let bundle = client.get_bundle(admin::GetBundleRequest {}).await?.into_inner();
    fleet.trust_domain = bundle.trust_domain;
    fleet.issuer = client.get_status(admin::GetStatusRequest {}).await?.into_inner().issuer;
    *workloads = client.list_workloads(admin::ListWorkloadsRequest {}).await?.into_inner().workloads;
    let records = admin::ListRecordsRequest { filter: None, limit: 0 };
    fleet.issuer_records = client.list_records(records).await?.into_inner().records;
    let entries = client.list_entries(admin::ListEntriesRequest {}).await?.into_inner().entries;
    fleet.entries = entries.into_iter().map(entry).collect();
    let all = admin::ListCertificatesRequest { include_expired: true, spiffe_id: String::new() };
    let certificates = client.list_certificates(all).await?.into_inner().certificates;
    fleet.certificates = certificates.into_iter().take(MOST_CERTIFICATES).map(certificate).collect();
    Ok(())
}

/// A join token for `operator`, for one use in the next minute.
pub(super) async fn token(client: &mut AdminClient<Channel>, operator: &str) -> Result<String, CliError> {
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
            Err(CliError::refused(&status, help))
        }
    }
}

fn entry(entry: admin::Entry) -> Entry {
    let seconds =
        |span: Option<prost_types::Duration>| span.and_then(|span| u64::try_from(span.seconds).ok());
    Entry {
        spiffe_id: entry.spiffe_id,
        svid_ttl_seconds: seconds(entry.svid_ttl),
        recovery_window_seconds: seconds(entry.recovery_window),
        dns_names: entry.dns_names,
        created_at: time(entry.created_at),
    }
}

fn certificate(certificate: admin::Certificate) -> Certificate {
    Certificate {
        serial: certificate.serial,
        spiffe_id: certificate.spiffe_id,
        not_before: time(certificate.not_before),
        not_after: time(certificate.not_after),
        origin: certificate.origin,
        last_seen: time(certificate.last_seen),
    }
}

/// Empty: never, or what is no time.
fn time(at: Option<prost_types::Timestamp>) -> String {
    at.and_then(|at| SystemTime::try_from(at).ok()).map(timespan::rfc3339).unwrap_or_default()
}
