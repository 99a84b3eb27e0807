//! What a careful user of tonic writes without avouch: its server and channel over mutual TLS by webpki, or without TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::{Channel, Endpoint, Server};

use crate::echo::Service;
use crate::echo::v1::echo_server::EchoServer;
use crate::error::Error;
use crate::pki::{CALLER, DNS_NAME, Pki, SERVER};

/// The largest message: more than any that is sent.
pub const LARGEST: usize = 8 << 20;

/// What TLS verifies, and whether sessions are resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// The server's certificate alone, in every handshake.
    OneWay,
    /// Both certificates, in every handshake.
    Mutual,
    /// Both certificates in the first handshake, and a ticket in those that follow.
    Resumed,
}

/// The TLS configuration of a server that asks for a client certificate below the root, unless it is one-way.
///
/// # Errors
/// When the certificates cannot be used.
pub fn server_config(pki: &Pki, tls: Tls, provider: Arc<CryptoProvider>) -> Result<ServerConfig, Error> {
    let (chain, key) = pki.credentials(SERVER)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?;
    let builder = match tls {
        Tls::OneWay => builder.with_no_client_auth(),
        Tls::Mutual | Tls::Resumed => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(pki)?, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| Error::other(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols.push(b"h2".to_vec());
    if tls == Tls::Resumed {
        config.ticketer = Ticketer::new().map_err(unusable)?;
    } else {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

/// The TLS configuration of a client with a certificate, unless it is one-way.
///
/// # Errors
/// When the certificates cannot be used.
pub fn client_config(pki: &Pki, tls: Tls, provider: Arc<CryptoProvider>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots(pki)?);
    let mut config = match tls {
        Tls::OneWay => builder.with_no_client_auth(),
        Tls::Mutual | Tls::Resumed => {
            let (chain, key) = pki.credentials(CALLER)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
    };
    config.alpn_protocols.push(b"h2".to_vec());
    if tls != Tls::Resumed {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn roots(pki: &Pki) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(pki.root_certificate()?).map_err(unusable)?;
    Ok(Arc::new(roots))
}

fn unusable(error: rustls::Error) -> Error {
    Error::other(format!("the certificates of the run: {error}"))
}

/// The service, with the same limits for every variant.
#[must_use]
pub fn service() -> EchoServer<Service> {
    EchoServer::new(Service).max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST)
}

/// Serves for ever: over mutual TLS if there is a configuration, else without TLS.
pub fn serve(listener: TcpListener, config: Option<ServerConfig>) {
    let Some(config) = config else {
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(Server::builder().add_service(service()).serve_with_incoming(incoming));
        return;
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (send, incoming) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, send) = (acceptor.clone(), send.clone());
            // A handshake each: a slow one is nobody else's.
            tokio::spawn(async move {
                let nodelay = tcp.set_nodelay(true);
                if let (Ok(()), Ok(stream)) = (nodelay, acceptor.accept(tcp).await) {
                    let _ = send.send(io::Result::Ok(Accepted(stream))).await;
                }
            });
        }
    });
    let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
    tokio::spawn(Server::builder().add_service(service()).serve_with_incoming(incoming));
}

/// Opens a connection: over mutual TLS if there is a configuration, else without TLS.
///
/// # Errors
/// When it cannot be opened.
pub async fn connect(address: SocketAddr, config: Option<Arc<ClientConfig>>) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| Error::other(error.to_string()))?.tcp_nodelay(true);
    let opened = match config.map(TlsConnector::from) {
        None => endpoint.connect().await,
        Some(connector) => {
            let open = tower::service_fn(move |_: http::Uri| {
                let connector = connector.clone();
                async move {
                    let tcp = TcpStream::connect(address).await?;
                    tcp.set_nodelay(true)?;
                    let name = ServerName::try_from(DNS_NAME).map_err(io::Error::other)?;
                    io::Result::Ok(hyper_util::rt::TokioIo::new(connector.connect(name, tcp).await?))
                }
            });
            endpoint.connect_with_connector(open).await
        }
    };
    opened.map_err(|error| {
        Error::other(format!("cannot connect to {address}: {}", avouch_text::with_causes(&error)))
    })
}

/// A server's connection; tonic wants to know of each what it is.
struct Accepted(tokio_rustls::server::TlsStream<TcpStream>);

impl tonic::transport::server::Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
