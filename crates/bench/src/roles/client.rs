//! Clients of the echo service: tonic's channels and avouch's.

use std::net::SocketAddr;
use std::sync::Arc;

use avouch_identity::Identity;
use avouch_testkit::ca::id;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tonic::{Request, Status};

use super::bare::{self, Tls};
use crate::echo::MARK;
use crate::echo::v1::EchoRequest;
use crate::echo::v1::echo_client::EchoClient;
use crate::error::Error;
use crate::pki::{CALLER, Pki, SERVER};

/// What a client is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// tonic's channel without TLS.
    H2c,
    /// tonic's channel over TLS by webpki, without a client certificate.
    OneWay,
    /// tonic's channel over mutual TLS by webpki.
    Tonic,
    /// The same, with session resumption.
    Resumed,
    /// avouch's channel, which expects the server's SPIFFE ID.
    Avouch,
}

/// Opens clients of one kind, which share certificates and TLS sessions.
pub(crate) struct Connector(Inner);

enum Inner {
    Tonic(Option<Arc<ClientConfig>>),
    Avouch(Identity),
}

impl Connector {
    /// Reads the caller's certificates.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(crate) async fn new(kind: Kind, pki: &Pki) -> Result<Self, Error> {
        let tls = |tls| {
            let config = bare::client_config(pki, tls, avouch_identity::crypto_provider().clone());
            config.map(|config| Inner::Tonic(Some(Arc::new(config))))
        };
        let inner = match kind {
            Kind::H2c => Inner::Tonic(None),
            Kind::OneWay => tls(Tls::OneWay)?,
            Kind::Tonic => tls(Tls::Mutual)?,
            Kind::Resumed => tls(Tls::Resumed)?,
            Kind::Avouch => {
                let started = Identity::start(pki.identity(CALLER)).await;
                Inner::Avouch(
                    started.map_err(|error| Error::other(avouch_text::with_causes(&error).to_string()))?,
                )
            }
        };
        Ok(Self(inner))
    }

    /// Opens avouch's channels of an identity.
    pub(super) fn avouch(identity: Identity) -> Self {
        Self(Inner::Avouch(identity))
    }

    /// A client on a connection of its own. tonic's connects at once, avouch's at its first call.
    ///
    /// # Errors
    /// When it cannot connect.
    pub(crate) async fn open(&self, address: SocketAddr) -> Result<Client, Error> {
        Ok(match &self.0 {
            Inner::Tonic(tls) => {
                let channel = bare::connect(address, tls.clone()).await?;
                Client::Tonic(EchoClient::new(channel).max_decoding_message_size(bare::LARGEST))
            }
            Inner::Avouch(identity) => {
                let url = format!("https://{address}");
                let channel = identity.channel(&url, id(&format!("/{SERVER}"))).build();
                let channel = channel.map_err(|error| Error::other(error.to_string()))?;
                Client::Avouch(EchoClient::new(channel).max_decoding_message_size(bare::LARGEST))
            }
        })
    }
}

/// A client on a connection of its own.
#[derive(Clone)]
pub(crate) enum Client {
    Tonic(EchoClient<tonic::transport::Channel>),
    Avouch(EchoClient<avouch_identity::Channel>),
}

impl Client {
    /// Makes a call: a unary one, or one that is answered by this number of messages.
    ///
    /// # Errors
    /// The status of a call that failed.
    pub(crate) async fn call(&mut self, payload: Vec<u8>, messages: Option<u32>) -> Result<(), Status> {
        let request = Request::new(EchoRequest { payload, messages: messages.unwrap_or_default() });
        if messages.is_none() {
            return match self {
                Self::Tonic(client) => client.unary(request).await.map(drop),
                Self::Avouch(client) => client.unary(request).await.map(drop),
            };
        }
        let mut stream = match self {
            Self::Tonic(client) => client.stream(request).await?.into_inner(),
            Self::Avouch(client) => client.stream(request).await?.into_inner(),
        };
        while stream.message().await?.is_some() {}
        Ok(())
    }

    /// Makes a unary call at which the server marks what is counted.
    ///
    /// # Errors
    /// The status of a call that failed.
    pub(crate) async fn mark(&mut self) -> Result<(), Status> {
        let request = Request::new(EchoRequest { payload: Vec::new(), messages: MARK });
        match self {
            Self::Tonic(client) => client.unary(request).await.map(drop),
            Self::Avouch(client) => client.unary(request).await.map(drop),
        }
    }
}
