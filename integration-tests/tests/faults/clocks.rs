//! One side's clock is ten minutes off, one way and the other.

use crate::caller::Caller;
use crate::person::asks;
use crate::process::clocks_can_be_wrong;
use crate::world::World;

/// Where a process cannot have a clock of its own, that is said.
macro_rules! needs_wrong_clocks {
    () => {
        if !clocks_can_be_wrong() {
            eprintln!("skipped: Debian's package `faketime` is not installed");
            return;
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_clock_is_ahead_learns_by_how_much() {
    let world = World::begin();
    let mut ledger = world.service_of("ledger", Some("5m"));
    ledger.start();
    let caller = Caller::with_clock(&world, "reports", "1h", 600).await;
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "the caller's clock 10 min ahead", &line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_clock_is_put_back_learns_by_how_much() {
    let world = World::begin();
    let ledger = world.ledger();
    // Nobody gets an identity with such a clock; it has one from before.
    let mut caller = Caller::with_clock(&world, "reports", "1h", 0).await;
    caller.put_clock(-600);
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "the caller's clock 10 min behind", &line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_ahead_is_found_from_its_callers_line() {
    needs_wrong_clocks!();
    let world = World::begin();
    let mut ledger = world.service("ledger");
    ledger.spec.clock = Some("+10m".to_owned());
    ledger.start();
    let caller = Caller::with_clock(&world, "reports", "5m", 0).await;
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "a server's clock 10 min ahead", &line)
        .and(&["spiffe://market.example/reports", "CERT_EXPIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_behind_is_found_from_its_callers_line() {
    needs_wrong_clocks!();
    let world = World::begin();
    let mut ledger = world.ledger();
    ledger.kill();
    // Nobody gets an identity with such a clock; it has one from before.
    ledger.spec.clock = Some("-10m".to_owned());
    ledger.start();
    let caller = Caller::with_clock(&world, "reports", "1h", 0).await;
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "a server's clock 10 min behind", &line).and(&[&ledger.address().to_string()]);
}
