//! The issuer's administration, over its Unix socket: entries, join tokens, the bundle, the inventory.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::admin::v1::{
    Certificate, CreateEntryRequest, CreateTokenRequest, Entry, Fork, GetBundleRequest, GetStatusRequest,
    ListCertificatesRequest, ListForksRequest, ListRecordsRequest, ListRevocationsRequest,
    ListWorkloadsRequest, RevokeRequest,
};
use avouch_api::observe::v1::{Record, Status, Workload};
use avouch_spiffe::{Bundle, TrustDomain};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// How long a join token of the demo may be used.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// A client of the administration socket, which connects anew after the issuer was restarted.
#[derive(Debug, Clone)]
pub struct Admin {
    client: AdminClient<Channel>,
}

impl Admin {
    /// Connects at the first call.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .timeout(Duration::from_secs(10))
            .connect_with_connector_lazy(connector);
        Self { client: AdminClient::new(channel).max_decoding_message_size(64 << 20) }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn answers(&self) -> Result<(), tonic::Status> {
        self.client.clone().get_bundle(GetBundleRequest {}).await.map(|_| ())
    }

    /// Registers an entry.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn register(&self, entry: Entry) -> Result<(), tonic::Status> {
        self.client.clone().create_entry(CreateEntryRequest { entry: Some(entry) }).await.map(|_| ())
    }

    /// Registers an entry, and makes a join token for it.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn admit(&self, entry: Entry) -> Result<String, tonic::Status> {
        let spiffe_id = entry.spiffe_id.clone();
        self.register(entry).await?;
        self.token(&spiffe_id).await
    }

    /// Makes a join token for an entry.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn token(&self, spiffe_id: &str) -> Result<String, tonic::Status> {
        let spiffe_id = spiffe_id.to_owned();
        let request = CreateTokenRequest { spiffe_id, ttl: TOKEN_LIFE.try_into().ok() };
        Ok(self.client.clone().create_token(request).await?.into_inner().token)
    }

    /// The trust domain's bundle.
    ///
    /// # Errors
    /// What the issuer says, or what is wrong with its answer.
    pub async fn bundle(&self, trust_domain: &TrustDomain) -> Result<Bundle, String> {
        let answer = self.client.clone().get_bundle(GetBundleRequest {}).await.map_err(|s| s.to_string())?;
        Bundle::from_json(trust_domain.clone(), &answer.into_inner().spiffe_bundle).map_err(|e| e.to_string())
    }

    /// The status of the issuer's process.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn status(&self) -> Result<Status, tonic::Status> {
        let answer = self.client.clone().get_status(GetStatusRequest {}).await?.into_inner();
        Ok(answer.issuer.and_then(|issuer| issuer.process).unwrap_or_default())
    }

    /// The records that the issuer's process has in memory.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn records(&self) -> Result<Vec<Record>, tonic::Status> {
        Ok(self.client.clone().list_records(ListRecordsRequest::default()).await?.into_inner().records)
    }

    /// When a revocation was made; none if there is no such one.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn revoked_at(&self, id: i64) -> Result<Option<SystemTime>, tonic::Status> {
        let listed = self.client.clone().list_revocations(ListRevocationsRequest::default()).await?;
        let found = listed.into_inner().revocations.into_iter().find(|one| one.id == id);
        Ok(found.and_then(|one| one.created_at).and_then(|at| SystemTime::try_from(at).ok()))
    }

    /// Certificates that were renewed or recovered with different keys, answered ones too.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn forks(&self) -> Result<Vec<Fork>, tonic::Status> {
        let request = ListForksRequest { include_ended: true };
        Ok(self.client.clone().list_forks(request).await?.into_inner().forks)
    }

    /// Every certificate ever issued, newest first.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn certificates(&self) -> Result<Vec<Certificate>, tonic::Status> {
        let request =
            ListCertificatesRequest { include_expired: true, spiffe_id: String::new(), ..Default::default() };
        Ok(self.client.clone().list_certificates(request).await?.into_inner().certificates)
    }

    /// The workloads that follow the trust stream.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn workloads(&self) -> Result<Vec<Workload>, tonic::Status> {
        Ok(self.client.clone().list_workloads(ListWorkloadsRequest::default()).await?.into_inner().workloads)
    }

    /// Revokes an identity or a certificate.
    ///
    /// # Errors
    /// What the issuer says.
    pub async fn revoke(&self, subject: &str, reason: &str) -> Result<(), tonic::Status> {
        let request =
            RevokeRequest { subject: subject.to_owned(), reason: reason.to_owned(), ..Default::default() };
        self.client.clone().revoke(request).await.map(drop)
    }
}
