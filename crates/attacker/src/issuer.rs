//! Enrolment, renewal and recovery, attempted without the right to them.
//!
//! The messages are written again here, after the public `.proto`.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

use crate::Error;
use crate::forge::{Credentials, Key, request};
use crate::grpc::{Attempt, Call, Outcome, Session};
use crate::tls::Approach;

const ENROLL: &str = "/avouch.issuer.v1.Issuer/Enroll";
const RENEW: &str = "/avouch.issuer.v1.Issuer/Renew";
const BEGIN_RECOVERY: &str = "/avouch.issuer.v1.Issuer/BeginRecovery";
const RECOVER: &str = "/avouch.issuer.v1.Issuer/Recover";

#[derive(Clone, PartialEq, prost::Message)]
struct Enroll {
    #[prost(string, tag = "1")]
    join_token: String,
    #[prost(bytes = "vec", tag = "2")]
    csr: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Renew {
    #[prost(bytes = "vec", tag = "1")]
    csr: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nonce {
    #[prost(bytes = "vec", tag = "1")]
    nonce: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Recover {
    #[prost(bytes = "vec", repeated, tag = "1")]
    expired_chain: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    proof: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    csr: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Svid {
    #[prost(bytes = "vec", repeated, tag = "1")]
    chain: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Granted {
    #[prost(message, optional, tag = "1")]
    svid: Option<Svid>,
}

/// The secret of a join token.
///
/// # Errors
/// When it is none.
pub fn secret(token: &str) -> Result<String, Error> {
    let encoded = token.trim().strip_prefix("avjt1.").ok_or("this is no join token")?;
    let content: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded)?)?;
    Ok(content.get("secret").and_then(serde_json::Value::as_str).ok_or("the token has no secret")?.to_owned())
}

/// Enrols with a token's secret, for a request that names `uris`.
///
/// # Errors
/// When the attack can't be made at all.
pub async fn enroll(issuer: SocketAddr, secret: &str, key: &Key, uris: &[&str]) -> Result<Attempt, Error> {
    match Session::open(issuer, Approach::showing(None)).await? {
        Ok(mut session) => enroll_on(&mut session, secret, key, uris).await,
        Err(refused) => Ok(refused),
    }
}

/// As [`enroll`], on a connection that is up.
///
/// # Errors
/// When the attack can't be made at all.
pub async fn enroll_on(
    session: &mut Session,
    secret: &str,
    key: &Key,
    uris: &[&str],
) -> Result<Attempt, Error> {
    let message = Enroll { join_token: secret.to_owned(), csr: request(key, uris)? };
    let call = Call { path: ENROLL, message: message.encode_to_vec(), headers: &[] };
    Ok(Attempt { local: session.local, outcome: session.call(&call).await? })
}

/// Renews with a real identity, for a request that names `uris`.
///
/// # Errors
/// When the attack can't be made at all.
pub async fn renew(
    issuer: SocketAddr,
    credentials: Option<&Credentials>,
    uris: &[&str],
) -> Result<Attempt, Error> {
    let message = Renew { csr: request(&Key::generate()?, uris)? };
    let call = Call { path: RENEW, message: message.encode_to_vec(), headers: &[] };
    crate::grpc::attempt(issuer, Approach::showing(credentials), &call).await
}

/// The certificate that the issuer handed out, if it did.
///
/// # Errors
/// When the answer can't be read.
pub fn granted(attempt: &Attempt, key: &Key) -> Result<Option<Credentials>, Error> {
    match &attempt.outcome {
        Outcome::Answered(answer) if answer.status == 0 => {
            let svid = Granted::decode(answer.message.as_slice())?.svid.ok_or("an answer without SVID")?;
            Credentials::new(svid.chain, key).map(Some)
        }
        _ => Ok(None),
    }
}

/// A recovery under way: one connection, and the nonce the issuer gave it.
#[derive(Debug)]
pub struct Recovery {
    session: Session,
    nonce: Vec<u8>,
}

/// A proof of possession, which can be sent more than once.
#[derive(Debug, Clone)]
pub struct Proven(Vec<u8>);

impl Recovery {
    /// Connects and asks for a nonce.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn begin(issuer: SocketAddr) -> Result<Self, Error> {
        let mut session = match Session::open(issuer, Approach::showing(None)).await? {
            Ok(session) => session,
            Err(refused) => return Err(format!("{refused:?}").into()),
        };
        let call = Call { path: BEGIN_RECOVERY, ..Call::default() };
        let nonce = match session.call(&call).await? {
            Outcome::Answered(answer) if answer.status == 0 => {
                Nonce::decode(answer.message.as_slice())?.nonce
            }
            other => return Err(format!("no nonce: {other:?}").into()),
        };
        Ok(Self { session, nonce })
    }

    /// Signs for an expired chain with a key, its own or not.
    ///
    /// # Errors
    /// When there is nothing to sign with.
    pub fn prove(&self, chain: &Credentials, key: &Key) -> Result<Proven, Error> {
        let exporter = self.session.exporter().ok_or("TLS exports nothing")?;
        let csr = request(&Key::generate()?, &[])?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &csr);
        let signed = [b"avouch-recovery-v1\0", &exporter[..], &self.nonce, digest.as_ref()].concat();
        let message = Recover {
            expired_chain: chain.chain.iter().map(|der| der.to_vec()).collect(),
            nonce: self.nonce.clone(),
            proof: key.sign(&signed)?,
            csr,
        };
        Ok(Proven(message.encode_to_vec()))
    }

    /// Sends a proof.
    ///
    /// # Errors
    /// When the attack can't be made at all.
    pub async fn send(&mut self, proven: &Proven) -> Result<Attempt, Error> {
        let call = Call { path: RECOVER, message: proven.0.clone(), headers: &[] };
        Ok(Attempt { local: self.session.local, outcome: self.session.call(&call).await? })
    }
}
