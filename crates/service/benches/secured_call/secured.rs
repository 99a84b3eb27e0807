//! Our server and channel, with the identity filter and the role check of every call.

use std::sync::Arc;

use avouch_authz::layer::{Authz, AuthzLayer, DecisionObserver};
use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::spiffe::SpiffeId;
use avouch_identity::{Channel, IdentityFilter, Server};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower_layer::Layer as _;

use crate::pki::Pki;

/// Serves the health service on this runtime for ever, and opens a channel to it.
pub(crate) async fn channel(pki: &Pki) -> Channel {
    serve(pki, Arc::new(()), |server, service| (server, service)).await
}

/// Methods and policy of the health service.
pub(crate) fn methods() -> Methods {
    Methods::new(&[]).expect("the built-in methods")
}

/// As [`channel`], with an observer of decisions, and with what `around` does to the server and around the service.
pub(crate) async fn serve<S, B>(
    pki: &Pki,
    observer: Arc<dyn DecisionObserver>,
    around: impl FnOnce(Server, Authz<Routes>) -> (Server, S),
) -> Channel
where
    S: tower::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<B>,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (server_publisher, server) = pki.identity("server");
    let (client_publisher, client) = pki.identity("client");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (_reporter, health) = tonic_health::server::health_reporter();
    let policy = Policy::without_roles(&methods());
    let trust_domain = server.spiffe_id().trust_domain().clone();
    let authz = AuthzLayer::new(PolicyHandle::fixed(policy), trust_domain.clone(), observer);
    let service = authz.layer(Routes::new(health).prepare());
    let (server, service) = around(Server::new(server, IdentityFilter::trust_domain(trust_domain)), service);
    tokio::spawn(async move {
        let _publishers = (server_publisher, client_publisher);
        server.serve(listener, service, std::future::pending()).await.expect("serving");
    });
    let expected: SpiffeId = "spiffe://bench.example/server".parse().expect("a SPIFFE ID");
    client.channel(&format!("https://{address}"), expected).build().expect("a channel")
}
