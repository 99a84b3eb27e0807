//! The gRPC service for workloads. The authorization layer has run before a request gets here; rate limits are checked
//! first.

mod watch;

use super::convert;
use crate::attest::Evidence;
use crate::audit::{CallerFacts, Refusals};
use crate::error::IssueError;
use crate::issuance::{Grant, Issuance};
use crate::limits::Limits;
use crate::recovery::{RecoveryRequest, nonces};
use avouch_api::issuer::v1::enroll_request::Evidence as ProtoEvidence;
use avouch_api::issuer::v1::issuer_server::Issuer;
use avouch_api::issuer::v1::{
    BeginRecoveryRequest, BeginRecoveryResponse, EnrollRequest, EnrollResponse, RecoverRequest,
    RecoverResponse, RenewRequest, RenewResponse, WatchTrustRequest,
};
use avouch_authz::layer::DecisionIds;
use avouch_identity::ConnectionInfo;
use avouch_spiffe::PeerIdentity;
use http::Extensions;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

/// The service; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct IssuerService {
    pub(crate) issuance: Arc<Issuance>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) decisions: DecisionIds,
    pub(crate) refusals: Arc<Refusals>,
    /// Ends the trust streams when the process drains.
    pub(crate) drain: CancellationToken,
}

/// The caller, as the server that accepted the connection says.
pub(super) struct Caller {
    pub(super) connection: Arc<ConnectionInfo>,
    pub(super) peer: Option<Arc<PeerIdentity>>,
}

impl Caller {
    fn of(extensions: &Extensions) -> Result<Self, Status> {
        // Absent only if the service is not served by `avouch_identity::Server`.
        let connection = extensions.get::<Arc<ConnectionInfo>>().cloned();
        let connection = connection.ok_or_else(|| Status::internal("the connection is not known"))?;
        Ok(Self { connection, peer: extensions.get::<Arc<PeerIdentity>>().cloned() })
    }

    pub(super) fn peer(&self) -> Result<&Arc<PeerIdentity>, IssueError> {
        self.peer.as_ref().ok_or(IssueError::NoPeer)
    }
}

impl IssuerService {
    fn limit_by_address(&self, caller: &Caller) -> Result<(), IssueError> {
        Ok(self.limits.unauthenticated(caller.connection.peer_addr.ip())?)
    }

    pub(super) fn limit_by_identity(&self, caller: &Caller) -> Result<(), IssueError> {
        Ok(self.limits.authenticated(caller.peer()?.spiffe_id())?)
    }

    /// Records a refusal and converts it into the status for the caller.
    pub(super) fn refuse(&self, action: &'static str, caller: &Caller, error: &IssueError) -> Status {
        let decision = self.decisions.next();
        let facts = CallerFacts { connection: Some(&caller.connection), peer: caller.peer.as_ref() };
        self.refusals.record(action, error, decision, facts);
        self.issuance.metrics.refused(action, error);
        error.to_status(decision)
    }

    async fn try_enroll(&self, caller: &Caller, request: EnrollRequest) -> Result<Grant, IssueError> {
        self.limit_by_address(caller)?;
        let evidence = match request.evidence {
            Some(ProtoEvidence::JoinToken(secret)) => Evidence::JoinToken(Zeroizing::new(secret)),
            None => return Err(IssueError::NoEvidence),
        };
        self.issuance.enroll(&evidence, &request.csr, caller.connection.peer_addr).await
    }

    async fn try_renew(&self, caller: &Caller, request: RenewRequest) -> Result<Grant, IssueError> {
        self.limit_by_identity(caller)?;
        self.issuance.renew(caller.peer()?, &request.csr, caller.connection.peer_addr).await
    }

    async fn try_recover(&self, caller: &Caller, request: RecoverRequest) -> Result<Grant, IssueError> {
        self.limit_by_address(caller)?;
        let request = RecoveryRequest {
            expired_chain: request.expired_chain,
            nonce: request.nonce,
            proof: request.proof,
            csr: request.csr,
        };
        self.issuance.recover(&caller.connection, &request).await
    }
}

#[tonic::async_trait]
impl Issuer for IssuerService {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let held = request.held;
        match self.try_enroll(&caller, request).await {
            Ok(grant) => Ok(Response::new(EnrollResponse { svid: Some(convert::svid(&grant, held)) })),
            Err(error) => Err(self.refuse("enroll", &caller, &error)),
        }
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let held = request.held;
        match self.try_renew(&caller, request).await {
            Ok(grant) => Ok(Response::new(RenewResponse { svid: Some(convert::svid(&grant, held)) })),
            Err(error) => Err(self.refuse("renew", &caller, &error)),
        }
    }

    async fn begin_recovery(
        &self,
        request: Request<BeginRecoveryRequest>,
    ) -> Result<Response<BeginRecoveryResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let nonce = self.limit_by_address(&caller).and_then(|()| Ok(nonces::issue(&caller.connection)?));
        match nonce {
            Ok(nonce) => Ok(Response::new(BeginRecoveryResponse { nonce: nonce.to_vec() })),
            Err(error) => Err(self.refuse("begin-recovery", &caller, &error)),
        }
    }

    async fn recover(&self, request: Request<RecoverRequest>) -> Result<Response<RecoverResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let held = request.held;
        match self.try_recover(&caller, request).await {
            Ok(grant) => Ok(Response::new(RecoverResponse { svid: Some(convert::svid(&grant, held)) })),
            Err(error) => Err(self.refuse("recover", &caller, &error)),
        }
    }

    type WatchTrustStream = watch::TrustStream;

    async fn watch_trust(
        &self,
        request: Request<Streaming<WatchTrustRequest>>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        match self.limit_by_identity(&caller) {
            Ok(()) => Ok(Response::new(watch::open(self.clone(), caller, request.into_inner()))),
            Err(error) => Err(self.refuse("watch-trust", &caller, &error)),
        }
    }
}
