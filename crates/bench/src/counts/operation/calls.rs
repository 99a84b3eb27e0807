//! Unary calls, made by a thread that does nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::{Input, Operate, Prepared};
use crate::counts::mark;
use crate::error::Error;
use crate::roles::client::{self, Client, Connector};
use crate::roles::serve;

/// Bytes of each message, both ways.
const PAYLOAD: usize = 128;

/// How long the first call may fail.
const FIRST: Duration = Duration::from_secs(60);

/// Calls to a server that may be on the same thread: then all that both ends do is counted together.
struct Calls {
    runtime: Runtime,
    client: Client,
    /// The server is another process, and counts for itself if it runs under callgrind.
    elsewhere: bool,
}

/// A unary call to the server at [`Input::address`], or else to one on this very thread.
pub(super) fn unary(input: &Input, server: serve::Kind, client: client::Kind) -> Result<Prepared, Error> {
    // Under valgrind the first random number takes seconds, for which no handshake waits.
    let random = avouch_identity::crypto_provider().secure_random.fill(&mut [0]);
    random.map_err(|_| Error::other("no randomness"))?;
    let pki = input.pki.clone().ok_or_else(|| Error::other("calls need certificates"))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::system("start a runtime"))?;
    let mut client = runtime.block_on(async {
        let address: SocketAddr = match input.address {
            Some(address) => address,
            None => serve::start(&serve::Options::new(server, &pki)).await?.address,
        };
        Connector::new(client, &pki).await?.open(address).await
    })?;
    // Nor does the server's: avouch's channel gives up on that handshake, and makes another one.
    let began = Instant::now();
    while let Err(status) = runtime.block_on(client.call(Vec::new(), None)) {
        if began.elapsed() > FIRST {
            return Err(failed(status));
        }
    }
    Ok(Box::new(Calls { runtime, client, elsewhere: input.address.is_some() }))
}

impl Calls {
    fn mark_server(&mut self) -> Result<(), Error> {
        if !self.elsewhere {
            return Ok(());
        }
        self.runtime.block_on(self.client.mark()).map_err(failed)
    }
}

impl Operate for Calls {
    fn operate(&mut self) -> Result<(), Error> {
        self.runtime.block_on(self.client.call(vec![7; PAYLOAD], None)).map_err(failed)
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.mark_server()?;
        mark();
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        mark();
        self.mark_server()
    }
}

fn failed(status: tonic::Status) -> Error {
    Error::other(format!("a call failed: {status}"))
}
