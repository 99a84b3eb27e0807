//! The enrolment of workloads: each joins with a token and a key of its own.

use std::net::SocketAddr;

use avouch_api::issuer::v1::EnrollRequest;
use avouch_api::issuer::v1::enroll_request::Evidence;
use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_attacker::tls::{Approach, config};
use avouch_identity::Svid;
use avouch_spiffe::{Bundle, JoinToken};
use avouch_testkit::ca::domain;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::{Options, Workload, request};
use crate::error::Error;
use crate::roles::bare;

/// Workloads that are enrolled at the same time: they share commits.
const LANES: usize = 64;

/// Workloads that are enrolled on one connection. The issuer lets connections without a certificate live for 30 seconds.
const PER_CONNECTION: usize = 32;

/// Enrolls a workload for each token of the options' file.
pub(super) async fn enroll(options: &Options) -> Result<Vec<Workload>, Error> {
    let text = std::fs::read_to_string(&options.tokens);
    let text = text.map_err(Error::system(format!("read {}", options.tokens.display())))?;
    let parse = |line: &str| line.parse().map_err(|error| Error::other(format!("a join token: {error}")));
    let mut tokens = text.lines().map(parse).collect::<Result<Vec<JoinToken>, _>>()?;
    let mut lanes = JoinSet::new();
    for lane in (1..=LANES).rev() {
        let own = tokens.split_off(tokens.len() - tokens.len() / lane);
        lanes.spawn(enroll_in_turn(options.address, own));
    }
    let mut all = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        all.extend(lane.map_err(|error| Error::other(format!("the enrolment: {error}")))??);
    }
    Ok(all)
}

async fn enroll_in_turn(address: SocketAddr, tokens: Vec<JoinToken>) -> Result<Vec<Workload>, Error> {
    let mut enrolled = Vec::with_capacity(tokens.len());
    for tokens in tokens.chunks(PER_CONNECTION) {
        // What the join token pins is for the workload to check; here only the issuer's work counts.
        let tls = config(Approach::showing(None)).map_err(|error| Error::other(error.to_string()))?;
        let mut issuer = IssuerClient::new(bare::connect(address, Some(tls)).await?);
        for token in tokens {
            let joined = join(&mut issuer, token).await;
            let failed = |status: Status| Error::other(format!("a workload cannot be enrolled: {status}"));
            enrolled.push(joined.map_err(failed)?);
        }
    }
    Ok(enrolled)
}

async fn join(issuer: &mut IssuerClient<Channel>, token: &JoinToken) -> Result<Workload, Status> {
    let internal =
        |error: &dyn std::error::Error| Status::internal(avouch_text::with_causes(error).to_string());
    let key = KeyPair::generate().map_err(|error| internal(&error))?;
    let csr = request(&key, Vec::new()).map_err(|error| internal(&error))?;
    let evidence = Some(Evidence::JoinToken(token.secret().to_owned()));
    let answer = issuer.enroll(EnrollRequest { evidence, csr, held: None }).await?.into_inner();
    let svid = answer.svid.ok_or_else(|| Status::internal("the answer has no certificate"))?;
    let roots = svid.bundle.map(|bundle| bundle.x509_authorities).unwrap_or_default();
    let bundle = Bundle::from_ders(domain(), &roots, 1).map_err(|error| internal(&error))?;
    let chain = svid.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let svid = Svid::new(chain, &key).map_err(|error| internal(&error))?;
    Ok(Workload { svid, bundle })
}
