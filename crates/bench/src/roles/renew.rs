//! Workloads of an issuer: enrolled beforehand, they renew their certificates as they are told.
//!
//! Keys and certificate signing requests are made beforehand, so that as little as possible of the machine is spent on the
//! callers' side.

mod enrolment;
mod storm;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use avouch_api::issuer::v1::RenewRequest;
use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_identity::{Channel, Identity, Publisher, Snapshot, Svid};
use avouch_spiffe::{Bundle, BundleSet};
use avouch_testkit::ca::domain;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use serde::{Deserialize, Serialize};

use super::load::{self, closed_loops};
use super::{Commands, say};
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "renew";

/// Different requests, used again and again.
const REQUESTS: usize = 2_048;

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where the issuer listens for workloads.
    pub address: SocketAddr,
    /// A file with a join token on each line; each is for another workload.
    pub tokens: PathBuf,
}

/// What it says when all workloads are enrolled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Callers, each with an identity and an open connection of its own, renew as fast as they are answered.
    Callers(load::Work),
    /// Workloads renew once each, at equal distances.
    Storm(storm::Work),
}

pub use storm::Work as StormWork;

/// Enrolls, and renews as it is told until the input ends.
///
/// # Errors
/// When a workload cannot be enrolled, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let pool = Pool {
        workloads: enrolment::enroll(&options).await?,
        requests: requests(REQUESTS)?.into(),
        address: options.address,
    };
    say(&Ready {})?;
    let mut commands = Commands::default();
    let mut callers = Vec::new();
    let mut first = 0;
    while let Some(command) = commands.next().await? {
        match command {
            Command::Callers(work) => {
                while callers.len() < work.callers {
                    callers.push(pool.caller(callers.len())?);
                }
                say(&closed_loops(&mut callers, work).await?)?;
            }
            Command::Storm(work) => {
                say(&storm::run(&pool, work, first).await?)?;
                first += work.workloads;
            }
        }
    }
    Ok(())
}

/// Certificate signing requests of as many keys, P-256, in DER.
pub(super) fn requests(count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let request = |_| {
        let der = KeyPair::generate().and_then(|key| request(&key, Vec::new()));
        der.map_err(|error| Error::other(format!("a request cannot be made: {error}")))
    };
    (0..count).map(request).collect()
}

/// A certificate signing request without a subject.
pub(super) fn request(key: &KeyPair, names: Vec<SanType>) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// An enrolled workload.
struct Workload {
    svid: Svid,
    bundle: Bundle,
}

/// The workloads, and what they send.
struct Pool {
    workloads: Vec<Workload>,
    requests: Arc<[Vec<u8>]>,
    address: SocketAddr,
}

impl Pool {
    /// A workload as a caller, with a connection of its own that is opened by its first call; they are given out in a circle.
    fn caller(&self, number: usize) -> Result<Caller, Error> {
        let workload = self.workloads.get(number % self.workloads.len().max(1));
        let Workload { svid, bundle } = workload.ok_or_else(|| Error::other("there are no workloads"))?;
        let bundles: BundleSet = std::iter::once(Arc::new(bundle.clone())).collect();
        let (publisher, identity) = Identity::publisher(Snapshot::new(svid.clone(), bundles));
        let url = format!("https://{}", self.address);
        let channel = identity.channel(&url, domain().issuer_id()).build();
        let channel = channel.map_err(|error| Error::other(error.to_string()))?;
        let (client, requests) = (IssuerClient::new(channel), self.requests.clone());
        // Callers begin at different requests.
        Ok(Caller { client, requests, next: number.wrapping_mul(31), _publisher: publisher })
    }
}

/// A workload with its connection.
struct Caller {
    client: IssuerClient<Channel>,
    requests: Arc<[Vec<u8>]>,
    next: usize,
    // The identity takes what it publishes for its newest state as long as it is there.
    _publisher: Publisher,
}

impl load::Caller for Caller {
    async fn call(&mut self) -> Result<(), String> {
        let request = self.requests.get(self.next % self.requests.len().max(1));
        self.next = self.next.wrapping_add(1);
        let csr = request.cloned().unwrap_or_default();
        let mut request = tonic::Request::new(RenewRequest { csr, held: None });
        request.set_timeout(Duration::from_secs(20));
        let answer = self.client.renew(request).await.map_err(|status| status.to_string())?;
        let chain = answer.into_inner().svid.map(|svid| svid.chain.len());
        if chain == Some(2) { Ok(()) } else { Err(format!("a chain of {chain:?} certificates")) }
    }
}
