//! A legitimate caller: a workload like any other that uses the identity library unchanged.
//!
//!     caller ISSUER:PORT TOKEN-FILE charge https://PAYMENTS:PORT KEY    charges a customer; payments posts to the ledger
//!     caller ISSUER:PORT TOKEN-FILE totals https://LEDGER:PORT [ID]     what the book says
//!     caller ISSUER:PORT TOKEN-FILE stock https://INVENTORY:PORT SKU    what is in the warehouse
//!     caller ISSUER:PORT TOKEN-FILE spent https://PAYMENTS:PORT         what all customers of a load were charged
//!     caller ISSUER:PORT TOKEN-FILE orders https://ORDERS:PORT SECONDS AT-ONCE RUN      (RUN begins the orders' IDs)
//!     caller ISSUER:PORT TOKEN-FILE shop https://STOREFRONT:PORT SECONDS AT-ONCE RUN
//!     caller ISSUER:PORT TOKEN-FILE reads https://LEDGER:PORT SECONDS AT-ONCE
//!     caller ISSUER:PORT TOKEN-FILE summaries https://REPORTS:PORT SECONDS AT-ONCE
//!     caller ISSUER:PORT TOKEN-FILE charges https://HOST FIRST COUNT    a charge at each of so many ports
//!     caller ISSUER:PORT TOKEN-FILE steady https://LEDGER:PORT SECONDS
//!
//! The first three make one call, `spent` one per customer, the others as many as fit into the time, so many at once;
//! `orders` and `shop` then wait for the end of every order they placed. Prints one line of JSON: the answer, or the
//! status and reason of the refusal (exit status 1), or what came of all calls.

mod each;
mod load;
mod steady;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use avouch_identity::{Channel, Identity, IdentityConfig, IssuerConfig};
use avouch_spiffe::SpiffeId;
use market_api::inventory::v1::GetStockRequest;
use market_api::inventory::v1::inventory_client::InventoryClient;
use market_api::ledger::v1::GetTotalsRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::money::v1::Money;
use market_api::orders::v1::orders_client::OrdersClient;
use market_api::payments::v1::ChargeRequest;
use market_api::payments::v1::payments_client::PaymentsClient;
use market_api::storefront::v1::storefront_client::StorefrontClient;
use serde_json::{Value, json};
use tonic::Status;

use load::Load;

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: caller ISSUER:PORT TOKEN-FILE charge|totals|stock|spent|orders|shop|reads|summaries https://HOST:PORT …";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(call(&arguments)));
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

async fn call(arguments: &[&str]) -> Result<(Value, bool), Error> {
    let [issuer, token_file, what, url, more @ ..] = arguments else { return Err(USAGE.into()) };
    let identity = Identity::start(IdentityConfig::Issuer(IssuerConfig {
        address: (*issuer).to_owned(),
        join_token_file: Some(PathBuf::from(token_file)),
        state_dir: None,
        addresses: Vec::new(),
        timeout: std::time::Duration::from_secs(5),
    }))
    .await?;
    let server = |service: &str| -> Result<SpiffeId, Error> {
        Ok(format!("spiffe://market.example/{service}").parse()?)
    };
    let channel =
        |service: &str| -> Result<Channel, Error> { Ok(identity.channel(url, server(service)?).build()?) };
    let outcome = match (*what, more) {
        ("charge", [key]) => charge(channel("payments")?, key).await,
        ("totals", []) => totals(channel("ledger")?).await,
        ("totals", [id]) => totals(identity.channel(url, id.parse::<SpiffeId>()?).build()?).await,
        ("stock", [sku]) => stock(channel("inventory")?, sku).await,
        ("spent", []) => load::spent(channel("payments")?).await,
        ("charges", [first, count]) => {
            Ok(each::charges(&identity, url, &server("payments")?, first, count).await?)
        }
        ("steady", [seconds]) => Ok(steady::reads(&identity, url, &server("ledger")?, seconds).await?),
        ("orders", [seconds, at_once, run]) => {
            let desk = OrdersClient::new(channel("orders")?);
            Ok(Load::parse(seconds, at_once)?.orders(desk, run, &identity).await)
        }
        ("shop", [seconds, at_once, run]) => {
            let desk = StorefrontClient::new(channel("storefront")?);
            Ok(Load::parse(seconds, at_once)?.orders(desk, run, &identity).await)
        }
        ("reads", [seconds, at_once]) => Ok(Load::parse(seconds, at_once)?.reads(channel("ledger")?).await),
        ("summaries", [seconds, at_once]) => {
            Ok(Load::parse(seconds, at_once)?.summaries(channel("reports")?).await)
        }
        _ => return Err(USAGE.into()),
    };
    Ok(match outcome {
        Ok(answer) => (answer, true),
        Err(status) => {
            let reason = avouch_identity::reason(&status).map(|reason| reason.as_str());
            (json!({ "code": status.code() as i32, "reason": reason, "message": status.message() }), false)
        }
    })
}

async fn charge(payments: Channel, key: &str) -> Result<Value, Status> {
    let request = ChargeRequest {
        key: key.to_owned(),
        customer_id: "cust-0001".to_owned(),
        amount: Some(Money { currency: "EUR".to_owned(), minor_units: 1_250 }),
    };
    let answer = PaymentsClient::new(payments).charge(request).await?.into_inner();
    Ok(json!({ "state": answer.state().as_str_name(), "posting_id": answer.posting_id }))
}

async fn totals(ledger: Channel) -> Result<Value, Status> {
    let answer = LedgerClient::new(ledger).get_totals(GetTotalsRequest {}).await?.into_inner();
    let currencies = answer.currencies.iter();
    let currencies: Vec<Value> = currencies
        .map(|row| json!({ "currency": row.currency, "postings": row.postings, "debits": row.debits_minor }))
        .collect();
    Ok(json!({ "last_sequence": answer.last_sequence, "currencies": currencies }))
}

async fn stock(inventory: Channel, sku: &str) -> Result<Value, Status> {
    let request = GetStockRequest { sku: sku.to_owned() };
    let answer = InventoryClient::new(inventory).get_stock(request).await?.into_inner();
    Ok(json!({ "on_hand": answer.on_hand, "held": answer.held }))
}
