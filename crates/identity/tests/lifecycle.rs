//! The life of connections: retirement, rotation, restart, deadlines. No call fails that did not have to.
#![allow(missing_docs, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_identity::{ServerOptions, reason};
use support::{Ca, channel, check, id, serve};
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn options(change: impl FnOnce(&mut ServerOptions)) -> ServerOptions {
    let mut options = ServerOptions::default();
    change(&mut options);
    options
}

/// Calls from `callers` tasks for `time`; returns how many calls there were. Every one must succeed.
async fn load(channel: &avouch_identity::Channel, callers: usize, time: Duration) -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (channel, stop, calls) = (channel.clone(), stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    check(&channel).await.map_err(|status| format!("{status:?}"))?;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a caller's task").expect("no call fails");
    }
    calls.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_goaway_every_50_ms_32_callers_see_no_failed_call_in_10_s() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let running =
        serve(server, options(|options| options.max_connection_age = Duration::from_millis(50))).await;
    let channel = channel(&client, &running);
    let calls = load(&channel, 32, Duration::from_secs(10)).await;
    let connections = running.records.all().len();
    eprintln!("{calls} calls over {connections} connections, 0 failed");
    assert!(connections > 100, "the connection was retired only {connections} times");
    assert!(calls > 10_000, "only {calls} calls");
    drop(channel);
    assert_eq!(running.stop().await.cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_both_identities_under_load_fails_no_call() {
    let ca = Ca::new();
    let ttl = Duration::from_millis(5000);
    let (server_publisher, server) = ca.identity_for("/server", ttl);
    let (client_publisher, client) = ca.identity_for("/client", ttl);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    let rotation = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            server_publisher.update(ca.svid(&id("/server"), ttl));
            client_publisher.update(ca.svid(&id("/client"), ttl));
        }
    });
    load(&channel, 8, Duration::from_secs(6)).await;
    rotation.abort();
    let serials: std::collections::HashSet<_> =
        running.records.all().into_iter().filter_map(|record| record.peer_serial).collect();
    assert!(serials.len() >= 2, "no connection used a renewed certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_does_not_outlive_the_certificate_of_its_peer() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity_for("/client", Duration::from_secs(2));
    let grace = Duration::from_millis(500);
    let running = serve(server, options(|options| options.retirement_grace = grace)).await;
    let channel = channel(&client, &running);
    let mut stream = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .expect("a stream")
        .into_inner();
    let end = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let status = end.await.expect("the stream ends with the certificate").expect_err("it ends with a status");
    assert_eq!(reason(&status), Some(Reason::ConnectionRetiring), "{status:?}");
    // Once the certificate has expired nothing new can be opened with it.
    let deadline = Instant::now() + Duration::from_secs(15);
    let refused = loop {
        match check(&channel).await {
            Ok(()) => assert!(Instant::now() < deadline, "an expired SVID is still taken"),
            // Shortly before the end the server says goodbye at once, and at the end it cuts what came too late.
            Err(status) if reason(&status).is_some_and(Reason::retryable) && Instant::now() < deadline => {}
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&refused), Some(Reason::CertExpired), "{refused:?}");
}

#[tokio::test]
async fn a_stream_on_a_draining_server_ends_with_a_status_and_the_server_with_no_connection_cut() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let grace = Duration::from_millis(400);
    let running = serve(server, options(|options| options.retirement_grace = grace)).await;
    let channel = channel(&client, &running);
    let mut stream = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .expect("a stream")
        .into_inner();
    stream.message().await.expect("the first state");
    let stopping = tokio::spawn(running.stop());
    let status = stream.message().await.expect_err("the stream ends");
    assert_eq!(reason(&status), Some(Reason::ConnectionRetiring), "{status:?}");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let drained = stopping.await.expect("the drain");
    assert_eq!((drained.open_at_shutdown, drained.cut), (1, 0), "{drained:?}");
}

#[tokio::test]
async fn a_deadline_is_honoured_while_connecting() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("https://{}", silent.local_addr().expect("an address"));
    let ca = Ca::new();
    let (_publisher, client) = ca.identity("/client");
    let channel = client
        .channel(&url, id("/server"))
        .default_timeout(Some(Duration::from_millis(200)))
        .build()
        .expect("a channel");
    let began = Instant::now();
    let status = check(&channel).await.expect_err("nobody answers");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_the_patience_and_used_once_it_is() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = free.local_addr().expect("an address");
    drop(free);
    let ca = Ca::new();
    let (_publisher, client) = ca.identity("/client");
    let (_server_publisher, server) = ca.identity("/server");
    let channel = client
        .channel(&format!("https://{address}"), id("/server"))
        .ready_timeout(Duration::from_millis(200))
        .build()
        .expect("a channel");
    let status = check(&channel).await.expect_err("nobody listens");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert_eq!(reason(&status), Some(Reason::PeerConnectionClosed), "{status:?}");

    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let (_health, service) = tonic_health::server::health_reporter();
    let routes = tonic::service::Routes::new(service).prepare();
    let filter = avouch_identity::IdentityFilter::trust_domain(support::domain());
    tokio::spawn(avouch_identity::Server::new(server, filter).serve(
        listener,
        routes,
        std::future::pending(),
    ));
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(status) = check(&channel).await {
        assert!(Instant::now() < deadline, "{status:?}");
    }
}

#[tokio::test]
async fn a_deadline_set_on_a_request_reaches_the_server_and_ends_an_endless_stream() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    let mut request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    request.set_timeout(Duration::from_millis(300));
    let began = Instant::now();
    let mut stream = HealthClient::new(channel).watch(request).await.expect("a stream").into_inner();
    stream.message().await.expect("the first state");
    let status = stream.message().await.expect_err("the deadline passes");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_call_made_under_a_deadline_inherits_it() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("https://{}", silent.local_addr().expect("an address"));
    let ca = Ca::new();
    let (_publisher, client) = ca.identity("/client");
    let channel = client.channel(&url, id("/server")).build().expect("a channel");
    let deadline = Instant::now() + Duration::from_millis(150);
    let status =
        avouch_identity::deadline::scope(deadline, check(&channel)).await.expect_err("nobody answers");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    assert!(Instant::now() < deadline + Duration::from_millis(400));
}

#[tokio::test]
async fn a_server_that_says_goodbye_at_once_is_not_asked_in_circles() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let running = serve(server, options(|options| options.max_connection_age = Duration::ZERO)).await;
    let channel = client
        .channel(&running.url(), id("/server"))
        .ready_timeout(Duration::from_secs(1))
        .default_timeout(Some(Duration::from_secs(2)))
        .build()
        .expect("a channel");
    let began = Instant::now();
    // Whether a call comes before the goodbye or after it is the scheduler's to say.
    while began.elapsed() < Duration::from_secs(2) {
        if let Err(status) = check(&channel).await {
            assert_eq!(reason(&status), Some(Reason::ConnectionRetiring), "{status:?}");
        }
    }
    let connections = running.records.all().len();
    assert!(connections < 200, "{connections} connections in two seconds");
}

#[tokio::test]
async fn no_call_is_taken_on_a_connection_after_the_certificate_has_ended_whatever_the_grace() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity_for("/client", Duration::from_secs(2));
    let running = serve(server, options(|options| options.retirement_grace = Duration::from_secs(600))).await;
    let channel = channel(&client, &running);
    let mut stream = HealthClient::new(channel)
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .expect("a stream")
        .into_inner();
    let began = Instant::now();
    while let Ok(Some(_)) = stream.message().await {}
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "the stream outlived the certificate: {:?}",
        began.elapsed()
    );
    assert_eq!(running.stop().await.open_at_shutdown, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_times_without_end_panic_nowhere() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let running = serve(
        server,
        options(|options| {
            options.max_handshakes = usize::MAX;
            options.max_handshake_rate = u32::MAX;
            options.max_connections = usize::MAX;
            options.max_calls = usize::MAX;
            options.max_streams = usize::MAX;
            options.max_buffered_bytes = u64::MAX;
            options.request_timeout = Duration::MAX;
            options.max_unauthenticated_connections = usize::MAX;
            options.unauthenticated_connection_age = Duration::MAX;
            options.max_unauthenticated_bytes = u64::MAX;
            options.handshake_timeout = Duration::MAX;
            options.chain.max_depth = usize::MAX;
            options.chain.max_certificate_bytes = usize::MAX;
            options.max_concurrent_streams = u32::MAX;
            options.max_header_list_size = u32::MAX;
            options.max_pending_accept_reset_streams = usize::MAX;
            options.max_cancelled_calls = u32::MAX;
            options.max_send_buffer_size = usize::MAX;
            options.max_connection_age = Duration::MAX;
            options.retirement_grace = Duration::MAX;
            options.keepalive_interval = Duration::MAX;
            options.keepalive_timeout = Duration::MAX;
            options.linger = Duration::MAX;
        }),
    )
    .await;
    let channel = client
        .channel(&running.url(), id("/server"))
        .default_timeout(Some(Duration::MAX))
        .connect_timeout(Duration::MAX)
        .ready_timeout(Duration::MAX)
        .build()
        .expect("a channel");
    check(&channel).await.expect("a call");
    drop(channel);
    running.stop().await;
}

#[tokio::test]
async fn limits_and_times_of_nothing_panic_nowhere() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let running = serve(
        server,
        options(|options| {
            options.max_handshakes = 0;
            options.max_handshake_rate = 0;
            options.max_connections = 0;
            options.max_unauthenticated_connections = 0;
            options.unauthenticated_connection_age = Duration::ZERO;
            options.max_concurrent_streams = 0;
            options.max_header_list_size = 0;
            options.max_send_buffer_size = 0;
            options.max_connection_age = Duration::ZERO;
            options.retirement_grace = Duration::ZERO;
            options.keepalive_interval = Duration::ZERO;
            options.keepalive_timeout = Duration::ZERO;
            options.linger = Duration::ZERO;
        }),
    )
    .await;
    // Nothing gets through, and the listener goes on saying so.
    let channel = channel(&client, &running);
    check(&channel).await.expect_err("no room");
    check(&channel).await.expect_err("no room, again");
    drop(channel);
    running.stop().await;
}

#[tokio::test]
async fn a_channel_to_what_nobody_could_connect_to_is_not_made() {
    let (_publisher, client) = Ca::new().identity("/client");
    for url in [
        "http://a:1",
        "a:1",
        "https://a",
        "https://a:0",
        "https://u@a:1",
        "https://a:1/path",
        "https://a:1?q",
        "https://a:1#f",
        "https://::1:7001",
        "https://0.0.0.0:7001",
        "https://[::]:7001",
        "https://224.0.0.1:7001",
        "https://127.1:7001",
        "https://",
    ] {
        client.channel(url, id("/server")).build().expect_err(url);
    }
    for url in ["https://a:1", "https://a:1/", "HTTPS://a_b:1", "https://[::1]:1", "https://[fe80::1%eth0]:1"]
    {
        client.channel(url, id("/server")).build().expect(url);
    }
}
