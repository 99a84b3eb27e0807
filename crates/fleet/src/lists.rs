//! The lists of the administration API, asked for page by page.

use crate::admin::AdminClient;
use avouch_api::admin::v1::{
    AuditRecord, Certificate, Entry, ListAuditRequest, ListCertificatesRequest, ListEntriesRequest,
    ListRevocationsRequest, ListWorkloadsRequest, Revocation,
};
use avouch_api::observe::v1::Workload;
use tonic::Status;

/// The rows of a page; an issuer gives no more.
const PAGE_SIZE: i32 = 1_000;

/// All entries.
///
/// # Errors
/// The issuer's.
pub async fn list_entries(client: &mut AdminClient) -> Result<Vec<Entry>, Status> {
    every_page(usize::MAX, async |page_token| {
        let request = ListEntriesRequest { page_size: PAGE_SIZE, page_token };
        let page = client.list_entries(request).await?.into_inner();
        Ok((page.entries, page.next_page_token))
    })
    .await
}

/// The newest certificates that the request asks for, `most` of them at most.
///
/// # Errors
/// The issuer's.
pub async fn list_certificates(
    client: &mut AdminClient,
    request: ListCertificatesRequest,
    most: usize,
) -> Result<Vec<Certificate>, Status> {
    every_page(most, async |page_token| {
        let request = ListCertificatesRequest { page_size: PAGE_SIZE, page_token, ..request.clone() };
        let page = client.list_certificates(request).await?.into_inner();
        Ok((page.certificates, page.next_page_token))
    })
    .await
}

/// All workloads that follow the trust stream.
///
/// # Errors
/// The issuer's.
pub async fn list_workloads(client: &mut AdminClient) -> Result<Vec<Workload>, Status> {
    every_page(usize::MAX, async |page_token| {
        let request = ListWorkloadsRequest { page_size: PAGE_SIZE, page_token };
        let page = client.list_workloads(request).await?.into_inner();
        Ok((page.workloads, page.next_page_token))
    })
    .await
}

/// The newest revocations that the request asks for, `most` of them at most, and how many changes of the trust state were
/// lost with a restore.
///
/// # Errors
/// The issuer's.
pub async fn list_revocations(
    client: &mut AdminClient,
    request: ListRevocationsRequest,
    most: usize,
) -> Result<(Vec<Revocation>, u64), Status> {
    let mut lost = 0;
    let found = every_page(most, async |page_token| {
        let request = ListRevocationsRequest { page_size: PAGE_SIZE, page_token, ..request.clone() };
        let page = client.list_revocations(request).await?.into_inner();
        lost = page.lost_changes;
        Ok((page.revocations, page.next_page_token))
    })
    .await?;
    Ok((found, lost))
}

/// The audit records that the request asks for, newest first.
///
/// # Errors
/// The issuer's.
pub async fn list_audit(
    client: &mut AdminClient,
    request: ListAuditRequest,
) -> Result<Vec<AuditRecord>, Status> {
    every_page(usize::MAX, async |page_token| {
        let request = ListAuditRequest { page_size: PAGE_SIZE, page_token, ..request.clone() };
        let page = client.list_audit(request).await?.into_inner();
        Ok((page.records, page.next_page_token))
    })
    .await
}

/// Asks for page after page until there is none or `most` rows have come.
async fn every_page<T>(
    most: usize,
    mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Status>,
) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (rows, next) = page(token).await?;
        all.extend(rows);
        if next.is_empty() || all.len() >= most {
            all.truncate(most);
            return Ok(all);
        }
        token = next;
    }
}
