//! The administrator's side, over the real socket.

use crate::harness::{ORDERS, World};
use avouch_api::admin::v1::*;
use std::time::Duration;
use tonic::Code;

fn entry(id: &str) -> CreateEntryRequest {
    CreateEntryRequest { entry: Some(Entry { spiffe_id: id.to_owned(), ..Entry::default() }) }
}

#[tokio::test]
async fn entries_are_registered_listed_shown_and_removed() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let mut orders = entry(ORDERS);
    if let Some(entry) = &mut orders.entry {
        entry.svid_ttl = Some(Duration::from_secs(60).try_into().unwrap());
        entry.dns_names = vec!["localhost".to_owned()];
    }
    let made = admin.create_entry(orders).await.unwrap().into_inner().entry.unwrap();
    assert!(made.created_at.is_some());
    admin.create_entry(entry("spiffe://market.example/ledger")).await.unwrap();
    let listed = admin.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(
        listed.iter().map(|e| e.spiffe_id.as_str()).collect::<Vec<_>>(),
        ["spiffe://market.example/ledger", ORDERS]
    );
    let shown = GetEntryRequest { spiffe_id: ORDERS.to_owned() };
    assert_eq!(admin.get_entry(shown.clone()).await.unwrap().into_inner().entry, Some(made));

    let held = world.enroll(&world.token(ORDERS).await).await.unwrap();
    assert_eq!(held.leaf().dns_names(), ["localhost"]);

    admin.delete_entry(DeleteEntryRequest { spiffe_id: ORDERS.to_owned() }).await.unwrap();
    assert_eq!(admin.get_entry(shown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_cannot_be_an_entry_is_refused_and_says_why() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    for (id, part) in [
        ("", "no SPIFFE ID"),
        ("orders", "spiffe://"),
        ("spiffe://market.example", "add a path"),
        ("spiffe://market.example/avouch/issuer", "reserved"),
        ("spiffe://other.example/orders", "not of the trust domain market.example"),
    ] {
        let status = admin.create_entry(entry(id)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{id}");
        assert!(status.message().contains(part), "{id}: {}", status.message());
    }
    assert_eq!(
        admin.create_entry(CreateEntryRequest { entry: None }).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    admin.create_entry(entry(ORDERS)).await.unwrap();
    assert_eq!(admin.create_entry(entry(ORDERS)).await.unwrap_err().code(), Code::AlreadyExists);
    let missing = "spiffe://market.example/missing".to_owned();
    let token = CreateTokenRequest { spiffe_id: missing.clone(), ttl: None };
    assert_eq!(admin.create_token(token).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        admin.delete_entry(DeleteEntryRequest { spiffe_id: missing }).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn the_inventory_shows_owner_origin_and_when_it_was_last_seen() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut raw = world.connect(Some(&held)).await;
    raw.renew(crate::harness::csr(&rcgen::KeyPair::generate().unwrap(), &[])).await.unwrap();
    let mut admin = world.admin().await;
    let of_orders = ListCertificatesRequest {
        include_expired: false,
        spiffe_id: ORDERS.to_owned(),
        ..Default::default()
    };
    let rows = admin.list_certificates(of_orders.clone()).await.unwrap().into_inner().certificates;
    let origins: Vec<_> = rows.iter().map(|row| row.origin.as_str()).collect();
    assert!(origins.contains(&"enroll") && origins.contains(&"renew"), "{origins:?}");
    let enrolled = rows.iter().find(|row| row.serial == held.serial()).unwrap();
    assert!(enrolled.last_seen.is_some());
    let everybody =
        ListCertificatesRequest { include_expired: true, spiffe_id: String::new(), ..Default::default() };
    let rows = admin.list_certificates(everybody).await.unwrap().into_inner().certificates;
    assert!(rows.iter().any(|row| row.origin == "self"));
    world.clock.advance(Duration::from_secs(60));
    let rows = admin.list_certificates(of_orders).await.unwrap().into_inner().certificates;
    assert!(rows.is_empty());
}

#[tokio::test]
async fn the_bundle_is_the_spiffe_document_of_the_root() {
    let world = World::new().await;
    let answer = world.admin().await.get_bundle(GetBundleRequest {}).await.unwrap().into_inner();
    let bundle =
        avouch_spiffe::Bundle::from_json(answer.trust_domain.parse().unwrap(), &answer.spiffe_bundle)
            .unwrap();
    assert_eq!(bundle.authorities(), world.issuer().trust().current().authorities());
    assert_eq!(bundle.sequence(), 1);
}

#[tokio::test]
async fn the_administration_is_not_served_to_the_network_nor_workloads_on_the_socket() {
    use avouch_api::admin::v1::admin_client::AdminClient;
    use avouch_api::issuer::v1::{BeginRecoveryRequest, issuer_client::IssuerClient};
    let world = World::new().await;
    // Over TLS: the method exists in no service there, and its rule asks for the local administrator anyway.
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    for held in [None, Some(&held)] {
        let channel = world.connect(held).await.into_channel();
        let refused =
            AdminClient::new(channel).list_entries(ListEntriesRequest::default()).await.unwrap_err();
        assert!(matches!(refused.code(), Code::Unauthenticated | Code::PermissionDenied), "{refused}");
    }
    let channel = crate::harness::admin_channel(&world.config.admin_socket).await;
    let refused = IssuerClient::new(channel).begin_recovery(BeginRecoveryRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_administration_works_when_every_certificate_has_expired() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.clock.advance(Duration::from_secs(50 * 365 * 86_400));
    let refused = match crate::harness::try_connect(world.address, Some(&held)).await {
        Err(_) => true,
        Ok(mut raw) => raw.renew(Vec::new()).await.is_err(),
    };
    assert!(refused, "nothing holds any more");
    // What repairs must not need what has to be repaired: it is let in by the socket, not by a certificate.
    let mut admin = world.admin().await;
    admin.create_entry(entry("spiffe://market.example/ledger")).await.unwrap();
    let listed = admin.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(listed.len(), 2);
    world.token("spiffe://market.example/ledger").await;
    admin.delete_entry(DeleteEntryRequest { spiffe_id: ORDERS.to_owned() }).await.unwrap();
}

/// Sends a request with a whole gRPC message over HTTP/2, and gives back its HTTP status.
async fn status_of<IO>(io: IO, method: &str, path: &str, content_type: &str, message: &[u8]) -> u16
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = http_body_util::Full::new(bytes::Bytes::from([&[0][..], &length, message].concat()));
    let io = hyper_util::rt::TokioIo::new(io);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, driver) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(driver);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("content-type", content_type)
        .body(body)
        .unwrap();
    client.send_request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_is_no_grpc_call_runs_no_rpc_over_the_socket_nor_over_the_network() {
    use avouch_attacker::tls::{self, Approach};
    const CREATE: &str = "/avouch.admin.v1.Admin/CreateEntry";
    let world = World::new().await;
    // Protobuf: the entry is field 1, and in it the SPIFFE ID is.
    let field = |content: &[u8]| [&[0x0a, u8::try_from(content.len()).unwrap()], content].concat();
    let message = field(&field(ORDERS.as_bytes()));
    for (method, content_type, status) in [
        ("POST", "text/plain", 415),
        ("POST", "application/grpc-web+proto", 415),
        ("PUT", "application/grpc", 405),
        ("GET", "application/grpc", 405),
    ] {
        let socket = tokio::net::UnixStream::connect(&world.config.admin_socket).await.unwrap();
        assert_eq!(status_of(socket, method, CREATE, content_type, &message).await, status, "{method}");
        let tcp = tls::socket(world.address, None).await.unwrap();
        let network = tls::handshake(tcp, Approach::showing(None)).await.unwrap();
        let path = "/avouch.issuer.v1.Issuer/Enroll";
        assert_eq!(status_of(network, method, path, content_type, &[]).await, status, "{method}");
    }
    assert!(
        world
            .admin()
            .await
            .list_entries(ListEntriesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .entries
            .is_empty()
    );
    let socket = tokio::net::UnixStream::connect(&world.config.admin_socket).await.unwrap();
    assert_eq!(status_of(socket, "POST", CREATE, "application/grpc", &message).await, 200);
    let listed = world.admin().await.list_entries(ListEntriesRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().entries.len(), 1, "the same request, but for its type, is a call");
}

#[tokio::test]
async fn lists_come_in_pages_and_whole_where_no_size_is_asked_for() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let ids: Vec<String> = (0..25).map(|n| format!("spiffe://market.example/s{n:02}")).collect();
    for id in &ids {
        admin.create_entry(entry(id)).await.unwrap();
    }
    let whole = admin.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!((whole.entries.len(), whole.next_page_token.as_str()), (25, ""));

    let mut listed = Vec::new();
    let mut page_token = String::new();
    let sizes = loop {
        let request = ListEntriesRequest { page_size: 10, page_token };
        let page = admin.list_entries(request).await.unwrap().into_inner();
        listed.push(page.entries.len());
        // A new identity before the page's last one and the removal of that one do not move what follows.
        if listed.len() == 1 {
            admin.create_entry(entry("spiffe://market.example/a")).await.unwrap();
            admin.delete_entry(DeleteEntryRequest { spiffe_id: ids[9].clone() }).await.unwrap();
            assert_eq!(page.entries[9].spiffe_id, ids[9]);
        } else {
            assert_eq!(page.entries[0].spiffe_id, ids[10 * (listed.len() - 1)]);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break listed;
        }
    };
    assert_eq!(sizes, [10, 10, 5]);
}

#[tokio::test]
async fn a_page_token_that_is_of_no_page_of_the_list_is_refused() {
    let world = World::new().await;
    let mut raw = world.connect(Some(&world.enroll(&world.invited(ORDERS).await).await.unwrap())).await;
    raw.renew(crate::harness::csr(&rcgen::KeyPair::generate().unwrap(), &[])).await.unwrap();
    let mut admin = world.admin().await;
    let of_orders = |page_token: &str| ListCertificatesRequest {
        spiffe_id: ORDERS.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let first = admin.list_certificates(of_orders("")).await.unwrap().into_inner();
    let token = first.next_page_token;
    let second = admin.list_certificates(of_orders(&token)).await.unwrap().into_inner();
    assert!(first.certificates[0].serial > second.certificates[0].serial);
    assert_eq!((second.certificates.len(), second.next_page_token.as_str()), (1, ""));

    let everybody = ListCertificatesRequest { spiffe_id: String::new(), ..of_orders(&token) };
    let also_expired = ListCertificatesRequest { include_expired: true, ..of_orders(&token) };
    for request in [everybody, also_expired, of_orders("garbage"), of_orders(&token[1..])] {
        let refused = admin.list_certificates(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("page_token is not"), "{}", refused.message());
    }
    let elsewhere = ListEntriesRequest { page_size: 1, page_token: token.clone() };
    assert_eq!(admin.list_entries(elsewhere).await.unwrap_err().code(), Code::InvalidArgument);
    let elsewhere = ListWorkloadsRequest { page_size: 1, page_token: token };
    assert_eq!(admin.list_workloads(elsewhere).await.unwrap_err().code(), Code::InvalidArgument);
    let negative = ListEntriesRequest { page_size: -1, page_token: String::new() };
    assert_eq!(admin.list_entries(negative).await.unwrap_err().code(), Code::InvalidArgument);
}
