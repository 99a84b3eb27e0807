//! A hostile caller. It speaks TLS and HTTP/2 by itself, believes any server, and shares no code with avouch's
//! verifiers, so that a refusal it meets is the server's own.
//!
//!     hostile ATTACK HOST:PORT [ISSUER:PORT TOKEN]
//!
//! ATTACK is one of `plaintext`, `no-certificate`, `self-made-ca` (claims to be payments), `foreign-domain` and
//! `wrong-role` (enrols for a real SVID first). Each tries to post to the ledger. One line of JSON says what came of
//! it; the exit status is 0 when the attack was refused, 1 when it got through, 2 when it could not be made.

mod credentials;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use avouch_api::issuer::v1::{EnrollRequest, EnrollResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use market_api::ledger::v1::{Entry, PostRequest, Posting};
use market_api::money::v1::Money;
use prost::Message;
use serde_json::{Value, json};

use crate::credentials::Credentials;
use crate::wire::{Answer, Refusal};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

const POST: &str = "/market.ledger.v1.Ledger/Post";
const ENROLL: &str = "/avouch.issuer.v1.Issuer/Enroll";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(attack(&arguments)));
    match result {
        Ok((report, refused)) => {
            let _ = writeln!(io::stdout(), "{report}");
            if refused { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "hostile: {error}");
            ExitCode::from(2)
        }
    }
}

async fn attack(arguments: &[&str]) -> Result<(Value, bool), Error> {
    let (credentials, target) = match arguments {
        ["plaintext", target] => return Ok(report(&wire::call_in_plaintext(target, POST, posting()).await)),
        ["no-certificate", target] => (None, target),
        ["self-made-ca", target] => (Some(Credentials::forged("spiffe://market.example/payments")?), target),
        ["foreign-domain", target] => (Some(Credentials::forged("spiffe://evil.example/payments")?), target),
        ["wrong-role", target, issuer, token] => (Some(enrol(issuer, token).await?), target),
        _ => return Err("usage: hostile ATTACK HOST:PORT [ISSUER:PORT TOKEN]".into()),
    };
    Ok(report(&wire::call(target, credentials.as_ref(), POST, posting()).await))
}

/// A posting that would be taken from a caller who may post.
fn posting() -> Vec<u8> {
    let amount = |minor_units| Some(Money { currency: "EUR".to_owned(), minor_units });
    let entry =
        |account: &str, minor_units| Entry { account: account.to_owned(), amount: amount(minor_units) };
    let posting = Posting {
        posting_id: "hostile-1".to_owned(),
        description: "money from nowhere".to_owned(),
        entries: vec![entry("customers/hostile", -100_000), entry("sales", 100_000)],
    };
    PostRequest { posting: Some(posting) }.encode_to_vec()
}

/// Gets a real SVID for whatever identity the token is for.
async fn enrol(issuer: &str, token: &str) -> Result<Credentials, Error> {
    let encoded = token.trim().strip_prefix("avjt1.").ok_or("this is no join token")?;
    let content: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded)?)?;
    let secret = content.get("secret").and_then(Value::as_str).ok_or("the token has no secret")?;
    let request = credentials::request()?;
    let message = EnrollRequest {
        evidence: Some(avouch_api::issuer::v1::enroll_request::Evidence::JoinToken(secret.to_owned())),
        csr: request.csr.clone(),
    };
    let answer = wire::call(issuer, None, ENROLL, message.encode_to_vec()).await;
    let answer = answer.map_err(|refusal| format!("enrolling: {refusal:?}"))?;
    if answer.status != 0 {
        return Err(format!("enrolling: {answer:?}").into());
    }
    let svid = EnrollResponse::decode(answer.message.as_slice())?.svid.ok_or("an answer without SVID")?;
    Ok(request.granted(svid.chain))
}

/// What is told of an attempt, and whether it was refused.
fn report(outcome: &Result<Answer, Refusal>) -> (Value, bool) {
    match outcome {
        Ok(answer) => (
            json!({
                "outcome": if answer.status == 0 { "accepted" } else { "refused" },
                "grpc_status": answer.status,
                "grpc_message": answer.text,
                "details": String::from_utf8_lossy(&answer.details),
            }),
            answer.status != 0,
        ),
        Err(refusal) => {
            (json!({ "outcome": "disconnected", "alert": refusal.alert, "error": refusal.text }), true)
        }
    }
}
