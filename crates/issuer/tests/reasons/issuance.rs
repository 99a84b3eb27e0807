//! The issuer refuses a certificate: its audit line under the decision's id, and what the workload gets.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use avouch_api::admin::v1::DeleteEntryRequest;
use avouch_identity::reason;
use avouch_issuer::config::RateLimitSettings;
use avouch_spiffe::Reason;
use avouch_time::clock::Clock;
use rcgen::KeyPair;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{ORDERS, World, csr};
use crate::{disclosure, log};

type Producing = Pin<Box<dyn Future<Output = Status>>>;

pub(crate) struct Row {
    pub(crate) reason: Reason,
    situation: &'static str,
    code: Code,
    produce: fn() -> Producing,
    /// What the issuer's record names.
    record: &'static [&'static str],
}

const fn row(
    reason: Reason,
    situation: &'static str,
    code: Code,
    produce: fn() -> Producing,
    record: &'static [&'static str],
) -> Row {
    Row { reason, situation, code, produce, record }
}

pub(crate) const ROWS: &[Row] = &[
    row(
        Reason::NoMatchingEntry,
        "its entry is gone",
        Code::PermissionDenied,
        || Box::pin(no_entry()),
        &[ORDERS],
    ),
    row(
        Reason::CsrInvalid,
        "no request at all",
        Code::InvalidArgument,
        || Box::pin(asking(|_| vec![0x30, 0])),
        &["the certificate signing request is refused: "],
    ),
    row(
        Reason::CsrIdentityMismatch,
        "in somebody else's name",
        Code::PermissionDenied,
        || Box::pin(asking(|key| csr(key, &["spiffe://market.example/payments"]))),
        &["spiffe://market.example/payments", ORDERS],
    ),
    row(Reason::RateLimited, "in a loop", Code::ResourceExhausted, || Box::pin(too_fast()), &[]),
    row(
        Reason::StoreUnavailable,
        "somebody else holds the database",
        Code::Unavailable,
        || Box::pin(no_store()),
        &["cannot be recorded", "locked"],
    ),
    row(
        Reason::RecoveryWindowOver,
        "away for too long",
        Code::Unauthenticated,
        || Box::pin(too_late()),
        &["the recovery is refused: "],
    ),
    row(
        Reason::JoinTokenInvalid,
        "a token of another issuer's",
        Code::Unauthenticated,
        || Box::pin(foreign_token()),
        &["the join token is unknown"],
    ),
    row(
        Reason::JoinTokenExpired,
        "an old token",
        Code::Unauthenticated,
        || Box::pin(old_token()),
        &["the join token has expired"],
    ),
    row(
        Reason::JoinTokenAlreadyUsed,
        "a used token",
        Code::Unauthenticated,
        || Box::pin(used_token()),
        &["the join token for ", ORDERS, "was used with another key"],
    ),
];

async fn no_entry() -> Status {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let request = DeleteEntryRequest { spiffe_id: ORDERS.to_owned() };
    world.admin().await.delete_entry(request).await.unwrap();
    let mut known = world.connect(Some(&held)).await;
    known.renew(csr(&KeyPair::generate().unwrap(), &[])).await.unwrap_err()
}

async fn asking(request: fn(&KeyPair) -> Vec<u8>) -> Status {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let csr = request(&KeyPair::generate().unwrap());
    world.connect(None).await.enroll(token.secret(), csr).await.unwrap_err()
}

async fn too_fast() -> Status {
    let world = World::with(|config| {
        let one = NonZeroU32::MIN;
        config.rate_limits = RateLimitSettings {
            unauthenticated_per_second: one,
            unauthenticated_burst: one,
            authenticated_per_second: one,
            authenticated_burst: one,
        };
    })
    .await;
    let mut raw = world.connect(None).await;
    raw.nonce().await.unwrap();
    raw.nonce().await.unwrap_err()
}

async fn no_store() -> Status {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let database = std::fs::read_dir(&world.config.data_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .expect("a database");
    let other = avouch_sqlite::rusqlite::Connection::open(database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let status = world.enroll(&token).await.map(|_| ()).unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();
    world.enroll(&token).await.expect("the token is not spent, and the store works again");
    status
}

async fn too_late() -> Status {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.until(held.leaf().not_after() + Duration::from_secs(3_601)).await;
    world.connect(None).await.recover_honestly(&held).await.unwrap_err()
}

async fn foreign_token() -> Status {
    let (world, other) = (World::new().await, World::new().await);
    let token = other.invited(ORDERS).await;
    world.enroll(&token).await.map(|_| ()).unwrap_err()
}

async fn old_token() -> Status {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    world.until(world.clock.now() + Duration::from_secs(601)).await;
    world.enroll(&token).await.map(|_| ()).unwrap_err()
}

async fn used_token() -> Status {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    world.enroll(&token).await.unwrap();
    world.enroll(&token).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn every_refused_certificate_is_in_the_issuers_record_under_the_id_the_workload_was_told() {
    log::begin();
    for row in ROWS {
        let situation = row.situation;
        let status = (row.produce)().await;
        assert_eq!((reason(&status), status.code()), (Some(row.reason), row.code), "{situation}: {status:?}");
        let decision = status.get_details_request_info().unwrap().request_id;
        assert!(status.message().contains(&decision), "{situation}: {status:?}");
        disclosure::nothing_of_the_entries(&status, situation);
        let record = log::of(&decision).await;
        assert_eq!(record["reason"], row.reason.as_str(), "{situation}: {record}");
        let detail = record["detail"].as_str().unwrap();
        for part in row.record {
            assert!(detail.contains(part), "{situation}: {part:?} not in {detail:?}");
        }
    }
}
