//! Serving the administrator: who is at the other end of the socket, and the same authorization layer as everywhere.
//!
//! A request that is not a gRPC call is answered before authorization. The kernel says which user connected
//! (`SO_PEERCRED`). The issuer's own user and root are `local-admin`; any other peer is unauthenticated, and every RPC
//! here refuses unauthenticated callers.

use crate::grpc::AdminService;
use avouch_api::admin::v1::admin_server::AdminServer;
use avouch_authz::LocalAdminCaller;
use avouch_authz::layer::AuthzLayer;
use avouch_identity::GrpcOnly;
use avouch_identity::listen::{Accepted, Acceptor, Share};
use http::Request;
use std::future::Future;
use std::io;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tower::ServiceBuilder;

/// The largest request that is accepted; requests are small: an identity and a few names.
const MAX_REQUEST: usize = 256 * 1024;

/// Serves the administrator until `shutdown`. `authz` enforces the rules of the API.
pub(crate) async fn serve(
    service: AdminService,
    authz: AuthzLayer,
    listener: UnixListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let own_uid = rustix::process::geteuid().as_raw();
    let who = tower::util::MapRequestLayer::new(move |mut request: Request<tonic::body::Body>| {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let uid = peer.map(|peer| peer.uid());
        if is_administrator(uid, own_uid) {
            request.extensions_mut().insert(LocalAdminCaller);
        } else {
            tracing::warn!(uid, "the administration socket was reached by another user");
        }
        request
    });
    // This socket is served by tonic itself, which accepts any method and content type as a call.
    let grpc_only = tower::layer::layer_fn(GrpcOnly::new);
    let layers = ServiceBuilder::new().layer(grpc_only).layer(who).layer(authz).into_inner();
    Server::builder()
        .layer(layers)
        .add_service(AdminServer::new(service).max_decoding_message_size(MAX_REQUEST))
        .serve_with_incoming_shutdown(connections(listener), shutdown)
        .await
}

/// The socket's connections, until the receiver is dropped or the socket fails. Only the issuer's own user and root can
/// open any: they are bounded by the descriptors that listeners may take, and by nothing else.
fn connections(listener: UnixListener) -> ReceiverStream<io::Result<UnixStream>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let acceptor = Acceptor::new("administration", Share::Few);
        loop {
            let accepted = tokio::select! {
                // The end of the server first: a connection accepted after it would never be answered.
                biased;
                () = sender.closed() => return,
                accepted = acceptor.accept(&listener, || None) => accepted,
            };
            let (connection, is_last) = match accepted {
                Ok(Accepted::Connection(stream, _)) => (Ok(stream), false),
                // The acceptor has logged it.
                Ok(Accepted::Refused(..) | Accepted::Nothing) => continue,
                Err(error) => (Err(error), true),
            };
            if sender.send(connection).await.is_err() || is_last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// The issuer's own user and root; a peer whose user the kernel does not report is no administrator.
fn is_administrator(uid: Option<u32>, own_uid: u32) -> bool {
    uid.is_some_and(|uid| uid == own_uid || uid == 0)
}

#[cfg(test)]
mod tests {
    use super::is_administrator;

    #[test]
    fn only_the_issuers_own_user_and_root_administrate() {
        assert!(is_administrator(Some(1000), 1000) && is_administrator(Some(0), 1000));
        for stranger in [Some(1001), Some(65_534), None] {
            assert!(!is_administrator(stranger, 1000), "{stranger:?}");
        }
        assert!(!is_administrator(Some(1000), 0));
    }
}
