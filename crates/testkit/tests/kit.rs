//! The kit itself: a call between two identities of its CA, and what is noted and waited for.

use std::time::Duration;

use avouch_identity::{IdentityFilter, Server};
use avouch_testkit::ca::{Ca, domain, id};
use avouch_testkit::log::Log;
use avouch_testkit::{loopback, wait};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn identities_of_one_ca_call_each_other_over_loopback_and_those_of_another_one_do_not() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (_rotate, server) = ca.identity("/ledger");
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::new(server, IdentityFilter::trust_domain(domain()));
    let running = loopback::serve(server, tonic::service::Routes::new(health).prepare()).await;
    for (ca, works) in [(&ca, true), (&other, false)] {
        let (_rotate, client) = ca.identity_for("/payments", Duration::from_secs(60));
        let channel = client.channel(&running.url(), id("/ledger")).build().unwrap();
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        assert_eq!(answer.is_ok(), works, "{answer:?}");
    }
    running.stop().await;
}

#[tokio::test]
#[should_panic(expected = "the impossible did not happen in time")]
async fn what_never_happens_fails_the_test() {
    tokio::time::pause();
    wait::until("the impossible", || false).await;
}

#[test]
fn a_log_holds_what_its_thread_logs_until_the_guard_goes() {
    let (log, guard) = Log::of_thread();
    tracing::warn!(answer = 42, "hello");
    drop(guard);
    tracing::warn!("unheard");
    assert!(log.text().contains("WARN") && log.text().contains("hello answer=42"), "{}", log.text());
    assert_eq!(log.text().lines().count(), 1);
}
