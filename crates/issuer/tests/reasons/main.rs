//! Every reason there is, produced by a real connection or call and looked at from both sides: the server's record
//! exactly, and what the caller is told. The tables are in `refused`, `strangers`, `known`, `calls` and `issuance`;
//! `disclosure` looks for what nobody may be told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers"
)]

use std::collections::BTreeSet;

use avouch_spiffe::Reason;

mod calls;
mod disclosure;
#[path = "../issuer/harness.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod harness;
mod issuance;
mod known;
mod log;
mod place;
mod refused;
mod strangers;

/// Reasons without a row, and why.
const NO_CAPABILITY: [(Reason, &str); 3] = [
    (Reason::CertRevoked, "there are no revocation lists yet"),
    (Reason::RevocationStateUnknown, "there are no revocation lists yet"),
    (Reason::IdentityRevoked, "no identity can be revoked yet"),
];

#[test]
fn every_reason_has_a_row_and_one_without_says_why() {
    let rows = refused::ROWS.iter().map(|row| row.reason).chain(strangers::ROWS.iter().map(|row| row.reason));
    let rows = rows.chain(known::ROWS.iter().map(|row| row.reason));
    let rows = rows.chain(calls::ROWS.iter().map(|row| row.reason));
    let rows: BTreeSet<Reason> = rows.chain(issuance::ROWS.iter().map(|row| row.reason)).collect();
    for reason in Reason::ALL {
        let without = NO_CAPABILITY.iter().any(|(excused, why)| excused == reason && !why.is_empty());
        assert!(rows.contains(reason) != without, "{reason}: a row, or a place among those without");
    }
}
