//! Five thousand handshakes that are begun and never finished: those who do finish theirs hardly notice.
//!
//! The honest caller reads the ledger without pause, on a connection that stays and on new ones; the flood comes and
//! goes beside it. What decides is the median of each flood against what was before and after it: other things run on
//! this machine too.

use serde_json::Value;

use crate::harness::{Outcome, ensure, scenario};
use crate::market::{Market, address, url};

/// How many of them, all floods of a measurement together.
const HALF_OPEN: u64 = 5_000;

/// How many each flood begins: it counts from the moment when there is no more room, and each costs another its place.
const EACH: &str = "2000";

/// How many are begun per second, at most: twice as many as keep all the room taken. What others leave of the machine
/// may be little, and making the flood is not to be what slows the calls.
const PER_SECOND: &str = "400";

/// Floods in one measurement, and the seconds without one before, between and after them.
const TURNS: [&str; 2] = ["3", "2"];

/// What is left to the honest of their calls.
const SHARE: f64 = 0.8;

/// Measurements until enough is left; what decides is the median of all of them.
const MEASUREMENTS: usize = 4;

#[test]
fn five_thousand_half_open_handshakes_leave_four_fifths_of_the_calls_and_new_connections_work() -> Outcome {
    scenario("half_open", |world| async move {
        let market = Market::begin(&world, "").await?;
        let [ledger] = market.start(["ledger"]).await?;
        let honest = market.caller("honest", "auditor", &["steady", &url(&ledger), "600"]).await?;
        honest.record("calls", |record| count(record, "kept") > 0).await?;
        let (mut kept, mut anew) = (Vec::new(), Vec::new());
        for measurement in 1..=MEASUREMENTS {
            let name = format!("hostile-{measurement}");
            let command = ["half-open", &address(&ledger), EACH, PER_SECOND, TURNS[0], TURNS[1]];
            let turns = market.attack(&name, &command, &[]).await?;
            let slices = honest.records().await?;
            let begun: u64 = turns.iter().map(|turn| count(turn, "begun")).sum();
            ensure(begun >= HALF_OPEN, format!("only {begun} were begun: {turns:?}"))?;
            for turn in turns.windows(3).step_by(2) {
                let [before, flood, after] = turn else { continue };
                let share = |field| {
                    let quiet = rate(before, &slices, field) + rate(after, &slices, field);
                    2.0 * rate(flood, &slices, field) / quiet
                };
                kept.push(share("kept"));
                anew.push(share("anew"));
            }
            nobody_honest_was_refused(&slices)?;
            eprintln!("half_open: {kept:.2?} of the calls, {anew:.2?} of the new connections");
            if median(&kept) >= SHARE && median(&anew) >= SHARE {
                break;
            }
        }
        ensure(kept.len() >= 3, format!("too few turns: {kept:?}"))?;
        ensure(median(&kept) >= SHARE, format!("of the calls only {kept:.2?} are left"))?;
        ensure(median(&anew) >= SHARE, format!("of the new connections only {anew:.2?} are left"))?;
        the_flood_was_one(&ledger.records().await?)
    })
}

fn count(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or_default()
}

/// Calls per second in the slices that lie wholly within this turn.
fn rate(turn: &Value, slices: &[Value], field: &str) -> f64 {
    let within = |slice: &&Value| {
        count(slice, "from_us") >= count(turn, "from_us") && count(slice, "to_us") <= count(turn, "to_us")
    };
    let (mut calls, mut time) = (0, 0);
    for slice in slices.iter().filter(|slice| slice["kept"].is_number()).filter(within) {
        calls += count(slice, field);
        time += count(slice, "to_us") - count(slice, "from_us");
    }
    calls as f64 * 1_000_000.0 / time as f64
}

fn median(shares: &[f64]) -> f64 {
    let mut sorted = shares.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn nobody_honest_was_refused(slices: &[Value]) -> Outcome {
    let failed: Vec<&Value> = slices.iter().filter(|slice| slice["failed"].is_string()).collect();
    ensure(failed.is_empty(), format!("honest calls failed: {failed:?}"))
}

/// There was no room for all of it, and the log is not full of it.
fn the_flood_was_one(records: &[Value]) -> Outcome {
    let refused: Vec<&Value> =
        records.iter().filter(|record| record["message"] == "connection refused").collect();
    let made_room = refused.iter().filter(|record| record["reason"] == "HANDSHAKE_LIMIT").count();
    ensure(made_room > 0, "as many handshakes as that should not fit")?;
    ensure(refused.len() < 500, format!("{} lines of it in the log", refused.len()))
}
