//! Our server and channel, with the identity filter and the role check of every call.

use std::sync::Arc;

use avouch_authz::layer::AuthzLayer;
use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::spiffe::SpiffeId;
use avouch_identity::{Channel, IdentityFilter, Server};
use tokio::net::TcpListener;
use tower_layer::Layer as _;

use crate::pki::Pki;

/// Serves the health service on this runtime for ever, and opens a channel to it.
pub(crate) async fn channel(pki: &Pki) -> Channel {
    let (server_publisher, server) = pki.identity("server");
    let (client_publisher, client) = pki.identity("client");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (_reporter, health) = tonic_health::server::health_reporter();
    let methods = Methods::new(&[]).expect("the built-in methods");
    let policy = Policy::parse("bench", "", &methods).expect("a policy");
    let trust_domain = server.spiffe_id().trust_domain().clone();
    let authz = AuthzLayer::new(PolicyHandle::fixed(policy), trust_domain.clone(), Arc::new(()));
    let service = authz.layer(tonic::service::Routes::new(health).prepare());
    tokio::spawn(async move {
        let _publishers = (server_publisher, client_publisher);
        let server = Server::new(server, IdentityFilter::trust_domain(trust_domain));
        server.serve(listener, service, std::future::pending()).await.expect("serving");
    });
    let expected: SpiffeId = "spiffe://bench.example/server".parse().expect("a SPIFFE ID");
    client.channel(&format!("https://{address}"), expected).build().expect("a channel")
}
