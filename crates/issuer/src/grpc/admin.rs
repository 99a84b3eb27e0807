//! The administrator's service, over the local socket only.

mod acknowledgements;
mod revocations;

use super::convert;
use super::pages::{Key, Pages};
use crate::audit;
use crate::crl::Crls;
use crate::entries::{EntryRules, create_token};
use crate::issuance::Issuance;
use crate::status::StatusReporter;
use crate::store::{By, CertificateFilter, Entry, StoreError};
use avouch_api::admin::v1 as admin;
use avouch_api::admin::v1::admin_server::Admin;
use avouch_api::admin::v1::{
    CreateEntryRequest, CreateEntryResponse, CreateTokenRequest, CreateTokenResponse, DeleteEntryRequest,
    DeleteEntryResponse, GetBundleRequest, GetBundleResponse, GetEntryRequest, GetEntryResponse,
    GetStatusRequest, GetStatusResponse, ListCertificatesRequest, ListCertificatesResponse,
    ListEntriesRequest, ListEntriesResponse, ListRecordsRequest, ListRecordsResponse, ListWorkloadsRequest,
    ListWorkloadsResponse,
};
use avouch_spiffe::{Reason, SpiffeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

/// The service; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct AdminService {
    pub(crate) issuance: Arc<Issuance>,
    pub(crate) rules: EntryRules,
    pub(crate) issuer_id: SpiffeId,
    pub(crate) status: Arc<StatusReporter>,
    pub(crate) crls: Arc<Crls>,
    /// Ends the streams when the process drains.
    pub(crate) drain: CancellationToken,
}

impl AdminService {
    async fn find(&self, id: &SpiffeId) -> Result<Entry, Status> {
        let entry = self.issuance.store.entry(id).await.map_err(|error| unavailable(&error))?;
        entry.ok_or_else(|| not_registered(id))
    }
}

/// The key of a row that has a single part.
fn only(key: Key) -> Option<String> {
    <[String; 1]>::try_from(key).ok().map(|[part]| part)
}

fn unavailable(error: &StoreError) -> Status {
    avouch_identity::status(Reason::StoreUnavailable, avouch_text::with_causes(error).to_string(), [])
}

/// Who asks, by the kernel's word.
fn by<T>(request: &Request<T>, now: SystemTime) -> By {
    let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
    By::new(peer.map_or_else(|| "local-admin".to_owned(), |peer| format!("uid {}", peer.uid())), now)
}

fn not_registered(id: &SpiffeId) -> Status {
    Status::not_found(format!("{id} is not registered"))
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_entry(
        &self,
        request: Request<CreateEntryRequest>,
    ) -> Result<Response<CreateEntryResponse>, Status> {
        let by = by(&request, self.issuance.clock.now());
        let entry =
            request.into_inner().entry.ok_or_else(|| Status::invalid_argument("the entry is missing"))?;
        let entry = convert::new_entry(entry, by.at)?;
        self.rules.check(&entry).map_err(|error| convert::entry_error(&error))?;
        let id = entry.spiffe_id.clone();
        let actor = by.actor.clone();
        let made = self.issuance.store.create_entry(entry, by).await.map_err(|error| unavailable(&error))?;
        let made = made.ok_or_else(|| Status::already_exists(format!("{id} is registered already")))?;
        audit::entry_created(&made, &actor);
        Ok(Response::new(CreateEntryResponse { entry: Some(convert::entry(made)) }))
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let pages = Pages::new("entries", &self.issuer_id, &[], request.page_size)?;
        let page = pages.page(&request.page_token, |key| only(key)?.parse().ok())?;
        let mut entries = self.issuance.store.entries(page).await.map_err(|error| unavailable(&error))?;
        let next_page_token = pages.cut(&mut entries, |last| vec![last.entry.spiffe_id.to_string()]);
        let entries = entries.into_iter().map(convert::entry).collect();
        Ok(Response::new(ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<GetEntryResponse>, Status> {
        let id = convert::spiffe_id(&request.into_inner().spiffe_id)?;
        let entry = self.find(&id).await?;
        Ok(Response::new(GetEntryResponse { entry: Some(convert::entry(entry)) }))
    }

    async fn delete_entry(
        &self,
        request: Request<DeleteEntryRequest>,
    ) -> Result<Response<DeleteEntryResponse>, Status> {
        let by = by(&request, self.issuance.clock.now());
        let (id, actor) = (convert::spiffe_id(&request.into_inner().spiffe_id)?, by.actor.clone());
        if !self.issuance.store.delete_entry(&id, by).await.map_err(|error| unavailable(&error))? {
            return Err(not_registered(&id));
        }
        audit::entry_deleted(&id, &actor);
        Ok(Response::new(DeleteEntryResponse {}))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let by = by(&request, self.issuance.clock.now());
        let request = request.into_inner();
        let id = convert::spiffe_id(&request.spiffe_id)?;
        let ttl = convert::span("ttl", request.ttl)?;
        let entry = self.find(&id).await?;
        let standing = self.issuance.store.standing_revocation(&id, None, by.at).await;
        if let Some(standing) = standing.map_err(|error| unavailable(&error))? {
            return Err(Status::failed_precondition(format!(
                "{id} is revoked by revocation {}, made by {}: a token would be refused; `avouch revoke --undo {}` first",
                standing.id, standing.actor, standing.id
            )));
        }
        let (bundle, actor) = (self.issuance.trust.current(), by.actor.clone());
        let made = create_token(&*self.issuance.store, &entry, ttl, &self.issuer_id, &bundle, by).await;
        let made = made.map_err(|error| convert::entry_error(&error))?;
        let (token, expires_at) = made.ok_or_else(|| not_registered(&id))?;
        audit::token_created(&id, expires_at, &actor);
        let response = CreateTokenResponse { token: token.encode(), expires_at: Some(expires_at.into()) };
        Ok(Response::new(response))
    }

    async fn get_bundle(&self, _: Request<GetBundleRequest>) -> Result<Response<GetBundleResponse>, Status> {
        let bundle = self.issuance.trust.current();
        Ok(Response::new(GetBundleResponse {
            trust_domain: bundle.trust_domain().to_string(),
            spiffe_bundle: bundle.to_json().into_bytes(),
        }))
    }

    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, Status> {
        let request = request.into_inner();
        let spiffe_id = match request.spiffe_id.as_str() {
            "" => None,
            text => Some(convert::spiffe_id(text)?),
        };
        let filter = [if request.include_expired { "all" } else { "alive" }, request.spiffe_id.as_str()];
        let pages = Pages::new("certificates", &self.issuer_id, &filter, request.page_size)?;
        let page = pages.page(&request.page_token, only)?;
        let alive_at = (!request.include_expired).then(|| self.issuance.clock.now());
        let found = self.issuance.store.certificates(CertificateFilter { alive_at, spiffe_id }, page).await;
        let mut found = found.map_err(|error| unavailable(&error))?;
        let next_page_token = pages.cut(&mut found, |last| vec![last.serial.clone()]);
        let now = self.issuance.clock.now();
        let revoked = self.issuance.store.revoked_certificates(now, now).await;
        let revoked: HashMap<String, i64> = revoked
            .map_err(|error| unavailable(&error))?
            .into_iter()
            .map(|revoked| (revoked.serial, revoked.revocation))
            .collect();
        let certificates = found
            .into_iter()
            .map(|row| admin::Certificate {
                revocation_id: revoked.get(&row.serial).copied().unwrap_or_default(),
                ..convert::certificate(row)
            })
            .collect();
        Ok(Response::new(ListCertificatesResponse { certificates, next_page_token }))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let issuer = self.status.issuer(&self.issuance).await;
        Ok(Response::new(GetStatusResponse { issuer: Some(issuer) }))
    }

    async fn list_workloads(
        &self,
        request: Request<ListWorkloadsRequest>,
    ) -> Result<Response<ListWorkloadsResponse>, Status> {
        let request = request.into_inner();
        let pages = Pages::new("workloads", &self.issuer_id, &[], request.page_size)?;
        let page = pages.page(&request.page_token, |key| match key.split_first() {
            Some((id, [replica])) => Some((id.parse().ok()?, replica.clone())),
            _ => None,
        })?;
        let mut acks =
            self.issuance.store.acknowledgements(page).await.map_err(|error| unavailable(&error))?;
        let next_page_token = pages.cut(&mut acks, |last| vec![last.spiffe_id.to_string(), last.replica()]);
        let workloads = acks.into_iter().map(convert::workload).collect();
        Ok(Response::new(ListWorkloadsResponse { workloads, next_page_token }))
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let request = request.into_inner();
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let records = self.status.records(&request.filter.unwrap_or_default(), limit);
        Ok(Response::new(ListRecordsResponse { records }))
    }

    async fn revoke(
        &self,
        request: Request<admin::RevokeRequest>,
    ) -> Result<Response<admin::RevokeResponse>, Status> {
        self.make_revocation(request).await
    }

    async fn undo_revocation(
        &self,
        request: Request<admin::UndoRevocationRequest>,
    ) -> Result<Response<admin::UndoRevocationResponse>, Status> {
        self.undo(request).await
    }

    async fn list_revocations(
        &self,
        request: Request<admin::ListRevocationsRequest>,
    ) -> Result<Response<admin::ListRevocationsResponse>, Status> {
        self.revocations(request.into_inner()).await
    }

    async fn list_forks(
        &self,
        request: Request<admin::ListForksRequest>,
    ) -> Result<Response<admin::ListForksResponse>, Status> {
        self.forks(request.into_inner().include_ended).await
    }

    async fn list_audit(
        &self,
        request: Request<admin::ListAuditRequest>,
    ) -> Result<Response<admin::ListAuditResponse>, Status> {
        self.audit(request.into_inner()).await
    }

    async fn get_crls(
        &self,
        _: Request<admin::GetCrlsRequest>,
    ) -> Result<Response<admin::GetCrlsResponse>, Status> {
        let crls = self.crls.get(self.issuance.trust.published().generation()).await;
        if crls.is_empty() {
            return Err(Status::unavailable("no revocation list has been signed yet"));
        }
        Ok(Response::new(admin::GetCrlsResponse { crls }))
    }

    type WatchAcknowledgementsStream = acknowledgements::AcknowledgementStream;

    async fn watch_acknowledgements(
        &self,
        request: Request<admin::WatchAcknowledgementsRequest>,
    ) -> Result<Response<Self::WatchAcknowledgementsStream>, Status> {
        let (issuance, drain) = (Arc::clone(&self.issuance), self.drain.clone());
        Ok(Response::new(acknowledgements::watch(issuance, drain, request.into_inner())))
    }
}
