//! The same call at one port after the other, for servers that may all be false.

use avouch_identity::Identity;
use avouch_spiffe::SpiffeId;
use market_api::payments::v1::ChargeRequest;
use market_api::payments::v1::payments_client::PaymentsClient;
use serde_json::{Value, json};

use crate::Error;

/// A charge at each of `count` ports from `first` on: the reason and the message of each refusal.
pub(crate) async fn charges(
    identity: &Identity,
    host: &str,
    payments: &SpiffeId,
    first: &str,
    count: &str,
) -> Result<Value, Error> {
    let (first, count): (u16, u16) = (first.parse()?, count.parse()?);
    let mut seen = Vec::new();
    for port in first..first + count {
        let channel = identity.channel(&format!("{host}:{port}"), payments.clone()).build()?;
        let answer = PaymentsClient::new(channel).charge(ChargeRequest::default()).await;
        seen.push(match answer {
            Ok(_) => json!({ "port": port, "message": "the call was made" }),
            Err(status) => {
                let reason = avouch_identity::reason(&status).map(|reason| reason.as_str());
                json!({ "port": port, "reason": reason, "message": status.message() })
            }
        });
    }
    Ok(json!(seen))
}
