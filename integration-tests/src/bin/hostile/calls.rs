//! Calls by unauthorized and authorized callers, one after the other, as a plan lists them.

use std::collections::BTreeMap;

use avouch_attacker::Error;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Call, attempt};
use avouch_attacker::tls::Approach;
use serde::Deserialize;
use serde_json::json;

use crate::{enrol, resolve, say, seen};

#[derive(Deserialize)]
pub(crate) struct Plan {
    /// By any name.
    callers: BTreeMap<String, Enrolment>,
    calls: Vec<Planned>,
}

#[derive(Deserialize)]
struct Enrolment {
    issuer: String,
    token: String,
}

#[derive(Deserialize)]
struct Planned {
    target: String,
    path: String,
    /// Nobody: without a certificate.
    caller: Option<String>,
}

/// Enrols all callers, then makes the calls, with requests that are empty.
pub(crate) async fn make(plan: Plan) -> Result<(), Error> {
    let mut callers: BTreeMap<String, Credentials> = BTreeMap::new();
    for (name, Enrolment { issuer, token }) in plan.callers {
        callers.insert(name, enrol(resolve(&issuer).await?, &token).await?);
    }
    for (number, planned) in plan.calls.iter().enumerate() {
        let credentials = match &planned.caller {
            Some(name) => Some(callers.get(name).ok_or_else(|| format!("no caller is called {name}"))?),
            None => None,
        };
        let call = Call { path: &planned.path, ..Call::default() };
        let attempt = attempt(resolve(&planned.target).await?, Approach::showing(credentials), &call).await;
        let attempt = attempt.map_err(|error| format!("call {number}, {}: {error}", planned.path))?;
        say(&json!({ "call": number, "seen": seen(&attempt) }))?;
    }
    Ok(())
}
