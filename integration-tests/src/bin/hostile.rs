//! The attacker in a container: it believes any server and shares no code with avouch's verifiers, so that a refusal
//! it meets is the server's own.
//!
//!     hostile ATTACK HOST:PORT [ISSUER:PORT TOKEN]
//!
//! ATTACK is one of `plaintext`, `no-certificate`, `self-made-ca` (claims to be payments), `foreign-domain` and
//! `wrong-role` (enrols for a real SVID first). Each tries to post to the ledger. One line of JSON says what came of
//! it; the exit status is 0 when the attack was refused, 1 when it got through, 2 when it could not be made.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::{Credentials, Key};
use avouch_attacker::grpc::{self, Call, Outcome};
use avouch_attacker::tls::Approach;
use avouch_attacker::{Error, issuer};
use market_api::ledger::v1::{Entry, PostRequest, Posting};
use market_api::money::v1::Money;
use prost::Message;
use serde_json::{Value, json};

const POST: &str = "/market.ledger.v1.Ledger/Post";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(attack(&arguments)));
    match result {
        Ok(outcome) => {
            let _ = writeln!(io::stdout(), "{}", report(&outcome));
            if outcome.got_through() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "hostile: {error}");
            ExitCode::from(2)
        }
    }
}

async fn attack(arguments: &[&str]) -> Result<Outcome, Error> {
    let call = Call { path: POST, message: posting(), headers: &[] };
    let (credentials, target) = match arguments {
        ["plaintext", target] => {
            return Ok(grpc::attempt_in_plaintext(resolve(target).await?, &call).await?.outcome);
        }
        ["no-certificate", target] => (None, target),
        ["self-made-ca", target] => (Some(forged("market.example")?), target),
        ["foreign-domain", target] => (Some(forged("evil.example")?), target),
        ["wrong-role", target, issuer, token] => (Some(enrol(resolve(issuer).await?, token).await?), target),
        _ => return Err("usage: hostile ATTACK HOST:PORT [ISSUER:PORT TOKEN]".into()),
    };
    let approach = Approach::showing(credentials.as_ref());
    Ok(grpc::attempt(resolve(target).await?, approach, &call).await?.outcome)
}

async fn resolve(target: &str) -> Result<SocketAddr, Error> {
    let found = tokio::net::lookup_host(target).await?.next();
    found.ok_or_else(|| format!("{target} has no address").into())
}

/// Flawless but for one thing: nobody trusts the CA that signed it. Its root comes with it.
fn forged(trust_domain: &str) -> Result<Credentials, Error> {
    let it = Workshop::new(trust_domain, "/payments")?;
    it.leaf_below(&it.signing, &[&it.signing, &it.root], |_| ())
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
async fn enrol(issuer: SocketAddr, token: &str) -> Result<Credentials, Error> {
    let key = Key::generate()?;
    let attempt = issuer::enroll(issuer, &issuer::secret(token)?, &key, &[]).await?;
    let granted = issuer::granted(&attempt, &key)?;
    granted.ok_or_else(|| format!("enrolling: {attempt:?}").into())
}

fn report(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Answered(answer) => json!({
            "outcome": if answer.status == 0 { "accepted" } else { "refused" },
            "grpc_status": answer.status,
            "grpc_message": answer.text,
            "details": String::from_utf8_lossy(&answer.details),
        }),
        Outcome::Disconnected { alert, text } => {
            json!({ "outcome": "disconnected", "alert": alert, "error": text })
        }
    }
}
