//! A server with any certificate, for clients that must reject it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Error;
use crate::forge::Credentials;
use crate::tls::{H2, PATIENCE, Shown};

/// A listening impostor; it ends when it is dropped.
#[derive(Debug)]
pub struct Impostor {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Impostor {
    /// Listens on the loopback, and shows these credentials to whoever connects. It asks for no certificate, and answers nothing.
    ///
    /// # Errors
    /// When it can't listen, or the key is of no use.
    pub async fn showing(credentials: &Credentials) -> Result<Self, Error> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), credentials).await
    }

    /// As [`Impostor::showing`], at an address of its own choice.
    ///
    /// # Errors
    /// As there.
    pub async fn at(address: SocketAddr, credentials: &Credentials) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown::new(credentials)?));
        config.alpn_protocols = vec![H2.to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(tokio::time::timeout(PATIENCE, async move {
                    if let Ok(mut stream) = acceptor.accept(tcp).await {
                        // Reads until the client closes the connection.
                        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                    }
                }));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
