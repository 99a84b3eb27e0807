//! Reads in a closed loop while a measurement runs: the number of answers in each interval, on one persistent
//! connection and on a new connection per call.

use std::cell::RefCell;
use std::io::{self, Write};
use std::time::Duration;

use avouch_attacker::now_us;
use avouch_identity::{Channel, Identity};
use avouch_spiffe::SpiffeId;
use market_api::ledger::v1::GetTotalsRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Error;

const SLICE: Duration = Duration::from_millis(100);

/// Concurrent callers on the persistent connection.
const KEPT: u32 = 2;

/// A packet that was lost is sent again after one second, which is all the patience that channels have by default.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was answered in the present slice.
#[derive(Default)]
struct Slice {
    kept: u64,
    anew: u64,
    failed: Option<String>,
}

/// Prints a line for each slice, and ends when the time is over.
pub(crate) async fn reads(
    identity: &Identity,
    url: &str,
    ledger: &SpiffeId,
    seconds: &str,
) -> Result<Value, Error> {
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
    let channel = || identity.channel(url, ledger.clone()).ready_timeout(PATIENCE).build();
    let slice = RefCell::new(Slice::default());
    let call = async |channel: Channel, counter: fn(&mut Slice) -> &mut u64| {
        let answer = LedgerClient::new(channel).get_totals(GetTotalsRequest {}).await;
        let mut slice = slice.borrow_mut();
        match answer {
            Ok(_) => *counter(&mut slice) += 1,
            Err(status) => slice.failed = Some(format!("{:?}: {}", status.code(), status.message())),
        }
    };
    let kept = channel()?;
    let staying = (0..KEPT).map(async |_| {
        while Instant::now() < end {
            call(kept.clone(), |slice| &mut slice.kept).await;
        }
    });
    let coming = async {
        while Instant::now() < end {
            call(channel()?, |slice| &mut slice.anew).await;
        }
        Ok::<_, Error>(())
    };
    let telling = async {
        let mut from_us = now_us();
        while Instant::now() < end {
            tokio::time::sleep(SLICE).await;
            let (to_us, Slice { kept, anew, failed }) = (now_us(), slice.take());
            let line =
                json!({ "from_us": from_us, "to_us": to_us, "kept": kept, "anew": anew, "failed": failed });
            writeln!(io::stdout(), "{line}")?;
            from_us = to_us;
        }
        Ok::<_, Error>(())
    };
    let (_, coming, telling) = tokio::join!(futures_util::future::join_all(staying), coming, telling);
    coming.and(telling)?;
    Ok(json!("over"))
}
