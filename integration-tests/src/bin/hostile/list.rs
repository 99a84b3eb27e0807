//! The attack list on payments and the issuer, each attack with a charge that would be taken from whoever may charge.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use avouch_attacker::Error;
use avouch_attacker::certificates::Workshop;
use avouch_attacker::grpc::Call;
use avouch_attacker::issuer::secret;
use avouch_attacker::list::{self, Loot, Made, Sleeper, UNENTITLED};
use market_api::money::v1::Money;
use market_api::payments::v1::ChargeRequest;
use prost::Message as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{FILES, enrol, say, seen};

const TRUST_DOMAIN: &str = "market.example";

/// Tokens: of three that are to be enrolled, and of two that are to be fought about.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    intern: String,
    raced: String,
    newcomer: String,
    sleeper: String,
    leaver: String,
    /// Seconds until the last two have expired, and the leaver's recovery window is over.
    gone_after: u64,
}

pub(crate) async fn make(payments: SocketAddr, issuer: SocketAddr, tokens: Tokens) -> Result<(), Error> {
    let asleep = Sleeper::enrol(issuer, &secret(&tokens.sleeper)?).await?;
    let gone = Sleeper::enrol(issuer, &secret(&tokens.leaver)?).await?;
    let until = Instant::now() + Duration::from_secs(tokens.gone_after);

    let workshop = Workshop::stolen(Path::new(FILES), TRUST_DOMAIN, "/orders")?;
    let call = Call { path: "/market.payments.v1.Payments/Charge", message: charge(), headers: &[] };
    report("payments", &list::certificates(&workshop, payments, &call).await?)?;
    report("payments", &list::strangers(&workshop.right()?, payments, &call).await)?;

    let intern = enrol(issuer, &tokens.intern).await?;
    for unentitled in UNENTITLED {
        let target = if unentitled.target == "issuer" { issuer } else { payments };
        let made = unentitled.make(target, &intern, &call.message).await;
        report(unentitled.target, &[made])?;
    }
    let loot = Loot {
        trust_domain: TRUST_DOMAIN.to_owned(),
        raced: secret(&tokens.raced)?,
        unused: secret(&tokens.newcomer)?,
        intern,
    };
    report("issuer", &list::enrolment(issuer, &loot).await?)?;
    tokio::time::sleep_until(until).await;
    report("issuer", &list::recovery(issuer, &asleep, &gone).await?)
}

fn charge() -> Vec<u8> {
    let amount = Some(Money { currency: "EUR".to_owned(), minor_units: 100_000 });
    ChargeRequest { key: "stolen".to_owned(), customer_id: "cust-0002".to_owned(), amount }.encode_to_vec()
}

fn report(target: &str, made: &[Made]) -> Result<(), Error> {
    for Made { name, reason, names, attempt } in made {
        let seen = attempt.as_ref().map_or_else(|error| json!(error.to_string()), seen);
        say(&json!({ "attack": name, "target": target, "reason": reason, "names": names, "seen": seen }))?;
    }
    Ok(())
}
