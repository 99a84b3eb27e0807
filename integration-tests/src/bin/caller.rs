//! An honest caller: a workload like any other, with the identity library and nothing of its own. Charges a customer
//! through payments, which posts to the ledger.
//!
//!     caller ISSUER:PORT TOKEN-FILE https://PAYMENTS:PORT KEY
//!
//! Prints one line of JSON with the charge's state, or with the status and reason of its refusal (exit status 1).

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use market_api::money::v1::Money;
use market_api::payments::v1::ChargeRequest;
use market_api::payments::v1::payments_client::PaymentsClient;
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error + Send + Sync>;

const PAYMENTS: &str = "spiffe://market.example/payments";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(charge(&arguments)));
    match result {
        Ok((report, accepted)) => {
            let _ = writeln!(io::stdout(), "{report}");
            if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "caller: {error}");
            ExitCode::from(2)
        }
    }
}

async fn charge(arguments: &[&str]) -> Result<(Value, bool), Error> {
    let [issuer, token_file, payments, key] = arguments else {
        return Err("usage: caller ISSUER:PORT TOKEN-FILE https://PAYMENTS:PORT KEY".into());
    };
    let identity = Identity::start(IdentityConfig::Issuer(IssuerConfig {
        address: (*issuer).to_owned(),
        join_token_file: Some(PathBuf::from(token_file)),
        state_dir: None,
        addresses: Vec::new(),
        timeout_ms: 5_000,
    }))
    .await?;
    let channel = identity.channel(payments, PAYMENTS.parse::<avouch_spiffe::SpiffeId>()?).build()?;
    let request = ChargeRequest {
        key: (*key).to_owned(),
        customer_id: "cust-0001".to_owned(),
        amount: Some(Money { currency: "EUR".to_owned(), minor_units: 1_250 }),
    };
    Ok(match PaymentsClient::new(channel).charge(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            (json!({ "state": answer.state().as_str_name(), "posting_id": answer.posting_id }), true)
        }
        Err(status) => {
            let reason = avouch_identity::reason(&status).map(|reason| reason.as_str());
            (json!({ "code": status.code() as i32, "reason": reason, "message": status.message() }), false)
        }
    })
}
