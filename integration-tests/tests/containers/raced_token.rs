//! One join token and two who have it: they use it at the same moment, and exactly one of them becomes the workload.

use std::time::Duration;

use futures_util::future::try_join;
use serde_json::{Value, json};

use crate::harness::{Failure, Node, Outcome, ensure, scenario};
use crate::market::Market;
use crate::records;

const RACES: usize = 10;
const PORT: &str = "7900";

#[test]
fn of_two_containers_that_use_a_token_at_the_same_moment_exactly_one_is_enrolled() -> Outcome {
    scenario("raced_token", |world| async move {
        let market = Market::begin(&world, "").await?;
        let mut tokens = Vec::new();
        for race in 0..RACES {
            tokens.push(market.token(&name(race)).await?);
        }
        let files = [("tokens.json", json!(tokens).to_string())];
        let issuer = market.issuer_address();
        let rendezvous = format!("{}:{PORT}", world.host("listener"));
        let (listener, dialer) = try_join(
            market.attacker("listener", &["race", &issuer, "listen", PORT], &files),
            market.attacker("dialer", &["race", &issuer, "dial", &rendezvous], &files),
        )
        .await?;
        let (one, other) = try_join(lines(&listener), lines(&dialer)).await?;
        ensure(one.len() == RACES && other.len() == RACES, format!("{one:?} {other:?}"))?;
        at_the_same_moment(&one, &other)?;
        for race in 0..RACES {
            one_has_won(&market, race, &one[race], &other[race]).await?;
        }
        nothing_else_was_refused(&market, &one, &other).await
    })
}

fn name(race: usize) -> String {
    format!("raced-{race}")
}

async fn lines(racer: &Node) -> Outcome<Vec<Value>> {
    racer.finished(Duration::from_secs(60)).await?.success(racer.name())?;
    let lines = racer.records().await?;
    Ok(lines.into_iter().filter(|line| line["race"].is_number()).collect())
}

/// Races that were none would show nothing: in one at least, both requests were under way at once.
fn at_the_same_moment(one: &[Value], other: &[Value]) -> Outcome {
    let time = |line: &Value, field: &str| line[field].as_i64().unwrap_or_default();
    let raced = |(one, other): &(&Value, &Value)| {
        time(one, "begun_us") < time(other, "ended_us") && time(other, "begun_us") < time(one, "ended_us")
    };
    let raced = one.iter().zip(other).filter(raced).count();
    eprintln!("{raced} of {RACES} races were run at the same moment");
    ensure(raced > 0, format!("nobody raced anybody: {one:?} {other:?}"))
}

async fn one_has_won(market: &Market, race: usize, one: &Value, other: &Value) -> Outcome {
    let got = |line: &Value, attempt: &str| line[attempt]["status"] == 0;
    let (winner, loser) = match (got(one, "first"), got(other, "first")) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return Err(Failure::new(format!("race {race} has no winner, or two: {one} {other}"))),
    };
    ensure(got(winner, "again"), format!("the winner may ask again with its key: {winner}"))?;

    let records = records::complete(&market.issuer, &[&loser["first"], &loser["again"]]).await?;
    for attempt in ["first", "again"] {
        let seen = &loser[attempt];
        let told = seen["details"].as_str().unwrap_or_default();
        let refused = seen["status"] == 16 && told.contains("JOIN_TOKEN_ALREADY_USED");
        ensure(refused, format!("race {race}: {seen}"))?;
        let record = records::only(&records, seen).map_err(Failure::new)?;
        for (field, value) in
            [("message", "certificate refused"), ("action", "enroll"), ("reason", "JOIN_TOKEN_ALREADY_USED")]
        {
            ensure(record[field] == value, format!("{field} should be {value}: {record}"))?;
        }
        records::none(&records, &winner[attempt]).map_err(Failure::new)?;
    }

    let id = format!("spiffe://market.example/{}", name(race));
    let issued = |record: &&Value| record["message"] == "certificate issued" && record["spiffe_id"] == id;
    let issued: Vec<&Value> = records.iter().filter(issued).collect();
    let to_the_winner = issued.iter().all(|record| record["key_sha256"] == winner["key"]);
    ensure(
        issued.len() == 2 && to_the_winner,
        format!("two certificates for the winner's key {} and no other: {issued:?}", winner["key"]),
    )
}

async fn nothing_else_was_refused(market: &Market, one: &[Value], other: &[Value]) -> Outcome {
    let attempts: Vec<&Value> =
        one.iter().chain(other).flat_map(|line| [&line["first"], &line["again"]]).collect();
    let records = market.issuer.records().await?;
    let others = records::others(&records, &attempts);
    ensure(others.is_empty(), format!("refusals that belong to nobody: {others:?}"))
}
