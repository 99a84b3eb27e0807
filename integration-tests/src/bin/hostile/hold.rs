//! Somebody who keeps what it once got: enrols, and from then on connects to the issuer and to each target again and again,
//! each time anew. A line is printed whenever what comes of it has changed.

use std::time::Duration;

use avouch_attacker::Error;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{self, Attempt, Call, Outcome};
use avouch_attacker::tls::Approach;
use serde_json::json;
use tokio::time::Instant;

use crate::{enrol, resolve, say};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// What any identity may call at any service.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The reasons that are told apart from other refusals.
const REVOKED: [&str; 2] = ["IDENTITY_REVOKED", "CERT_REVOKED"];

/// Tries for some seconds.
pub(crate) async fn on(issuer: &str, token: &str, seconds: u64, targets: &[&str]) -> Result<(), Error> {
    let credentials = enrol(resolve(issuer).await?, token).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut known = vec![String::new(); targets.len() + 1];
    while Instant::now() < until {
        for (target, known) in targets.iter().chain([&issuer]).zip(&mut known) {
            let is = outcome(target, &credentials).await;
            if is != *known {
                say(&json!({ "target": target, "is": is, "was": known }))?;
                *known = is;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// In a word: `accepted` whatever is answered, `refused` by an alert, the reason of a revocation, or `away`.
async fn outcome(target: &str, credentials: &Credentials) -> String {
    match attempt(target, credentials).await {
        Ok(Attempt { outcome: Outcome::Answered(answer), .. }) => {
            let reason = REVOKED.iter().find(|reason| answer.says(reason));
            (*reason.unwrap_or(&"accepted")).to_owned()
        }
        Ok(Attempt { outcome: Outcome::Disconnected { alert: Some(_), .. }, .. }) => "refused".to_owned(),
        Ok(_) | Err(_) => "away".to_owned(),
    }
}

async fn attempt(target: &str, credentials: &Credentials) -> Result<Attempt, Error> {
    let call = Call { path: CHECK, ..Call::default() };
    grpc::attempt(resolve(target).await?, Approach::showing(Some(credentials)), &call).await
}
