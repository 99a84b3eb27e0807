//! No identity to be had, or no new one.

use crate::person::asks;
use crate::world::World;

#[test]
fn a_service_that_waits_for_a_stopped_issuer_is_led_to_it() {
    let mut world = World::begin();
    let mut ledger = world.service("ledger");
    world.issuer.leave();
    ledger.spawn();
    let line = ledger.running().says(&["no identity yet"]);
    asks(&world, "stopped issuer", &line).and(&["admin.sock", "avouch-issuer --config issuer.toml"]);
}

#[test]
fn a_service_whose_renewal_is_refused_is_led_to_the_entry_that_is_gone() {
    let world = World::begin();
    let mut ledger = world.service_of("ledger", Some("5s"));
    ledger.start();
    world.avouch(&["entry", "rm", "spiffe://market.example/ledger"]);
    let line = ledger.running().says(&["no fresh SVID"]);
    asks(&world, "renewal failing", &line).and(&[
        "there is no entry for spiffe://market.example/ledger",
        "`avouch entry add spiffe://market.example/ledger`",
    ]);
}

#[test]
fn a_service_with_a_used_token_is_led_to_who_used_it_and_to_a_new_one() {
    let world = World::begin();
    let mut ledger = world.service("ledger");
    ledger.start();
    ledger.kill();
    // Another machine, with the same token and no state.
    std::fs::remove_dir_all(world.path("ledger/identity")).unwrap();
    let text = ledger.cannot_start();
    let told = text.split("ledger: error").last().unwrap();
    asks(&world, "used token", told).and(&[
        "the join token for spiffe://market.example/ledger",
        "`avouch token create spiffe://market.example/ledger`",
        "`avouch cert list --all --id spiffe://market.example/ledger`",
    ]);
}
