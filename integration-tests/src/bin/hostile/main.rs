//! The attacker in a container: it believes any server and shares no code with avouch's verifiers, so that a refusal
//! it meets is the server's own.
//!
//!     hostile calls                              the calls of /etc/avouch/plan.json, each as whom it says
//!     hostile list PAYMENTS:PORT ISSUER:PORT     the attack list, with what was stolen into /etc/avouch
//!     hostile servers PORT                       false payments, one at each port from PORT on
//!     hostile race ISSUER:PORT listen PORT       races another for each token of /etc/avouch/tokens.json, to which
//!     hostile race ISSUER:PORT dial HOST:PORT    the one listens that the other dials
//!     hostile hold ISSUER:PORT SECONDS HOST:PORT...   enrols by /etc/avouch/join-token, and tries all of them
//!     hostile half-open HOST:PORT COUNT PER-SECOND TURNS SECONDS
//!
//! `half-open` floods with handshakes that are never finished for some seconds, and then not for as long, in turns.
//! Each prints one line of JSON for each thing it did, and what came of it. It does not judge: the exit status is 0
//! when all could be done.

mod calls;
mod flood;
mod hold;
mod list;
mod race;
mod servers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use avouch_attacker::Error;
use avouch_attacker::forge::{Credentials, Key};
use avouch_attacker::grpc::{Attempt, Outcome};
use avouch_attacker::issuer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The mount point of stolen files and of those handed out by mistake.
const FILES: &str = "/etc/avouch";

const USAGE: &str = "usage: hostile calls | list PAYMENTS:PORT ISSUER:PORT | servers PORT | \
    race ISSUER:PORT listen PORT | race ISSUER:PORT dial HOST:PORT | hold ISSUER:PORT SECONDS HOST:PORT … | half-open HOST:PORT COUNT PER-SECOND TURNS SECONDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(attack(&arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn attack(arguments: &[&str]) -> Result<(), Error> {
    match arguments {
        ["calls"] => calls::make(file("plan.json")?).await,
        ["list", payments, issuer] => {
            list::make(resolve(payments).await?, resolve(issuer).await?, file("tokens.json")?).await
        }
        ["servers", port] => servers::listen(port.parse()?).await,
        ["race", issuer, side, address] => {
            race::run(resolve(issuer).await?, side, address, file("tokens.json")?).await
        }
        ["hold", issuer, seconds, targets @ ..] => {
            let token = std::fs::read_to_string(Path::new(FILES).join("join-token"))?;
            hold::on(issuer, &token, seconds.parse()?, targets).await
        }
        ["half-open", target, count, per_second, turns, seconds] => {
            let flood = flood::Flood {
                target: resolve(target).await?,
                count: count.parse()?,
                per_second: per_second.parse()?,
            };
            flood.run(turns.parse()?, seconds.parse()?).await
        }
        _ => Err(USAGE.into()),
    }
}

fn say(line: &Value) -> Result<(), Error> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn file<T: DeserializeOwned>(name: &str) -> Result<T, Error> {
    let text = std::fs::read(Path::new(FILES).join(name)).map_err(|error| format!("{name}: {error}"))?;
    Ok(serde_json::from_slice(&text)?)
}

async fn resolve(target: &str) -> Result<SocketAddr, Error> {
    let found = tokio::net::lookup_host(target).await?.next();
    found.ok_or_else(|| format!("{target} has no address").into())
}

/// Gets a real SVID for whatever identity the token is for.
async fn enrol(issuer: SocketAddr, token: &str) -> Result<Credentials, Error> {
    let key = Key::generate()?;
    let attempt = issuer::enroll(issuer, &issuer::secret(token)?, &key, &[]).await?;
    let granted = issuer::granted(&attempt, &key)?;
    granted.ok_or_else(|| format!("enrolling: {attempt:?}").into())
}

/// What an attacker saw, and by what the other side's record of it is found.
fn seen(attempt: &Attempt) -> Value {
    match &attempt.outcome {
        Outcome::Answered(answer) => json!({
            "local": attempt.local,
            "outcome": "answered",
            "status": answer.status,
            "message": answer.text,
            "details": String::from_utf8_lossy(&answer.details),
            "decision": answer.decision_id(),
        }),
        Outcome::Disconnected { alert, text } => {
            json!({ "local": attempt.local, "outcome": "disconnected", "alert": alert, "error": text })
        }
    }
}
