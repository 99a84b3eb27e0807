//! What the processes of a run do: `avouch-bench role NAME OPTIONS`, with options, commands and answers in JSON.
//!
//! A role says that it is ready with one line, answers each line on its standard input with one line, and ends at the end
//! of the input. An older program takes part in a run by its roles: a role's options and answers are changed by adding
//! fields that may be absent.

pub mod alone;
pub mod bao;
pub mod bare;
pub mod call;
pub mod client;
pub mod clients;
pub mod collect;
pub mod decide;
pub mod exec;
pub mod first;
pub mod handshake;
pub mod hold;
pub mod library;
pub mod load;
pub mod operate;
mod primitives;
mod published;
pub mod reconnect;
pub mod records;
pub mod renew;
pub mod revocable;
pub mod serve;
pub mod sign;
pub mod subscribe;
pub mod trust;
pub mod verify;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::net::{TcpListener, TcpSocket};

use crate::error::Error;

/// The runtime of a role: on as many threads as there are cores, unless the role is to use one.
#[must_use]
pub fn runtime(name: &str) -> tokio::runtime::Builder {
    match name {
        alone::NAME => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
}

/// Runs a role until its input ends.
///
/// # Errors
/// For an unknown role, options it does not understand, and whatever fails in it.
pub async fn run(name: &str, options: &str) -> Result<(), Error> {
    match name {
        alone::NAME => alone::run(parse(options)?).await,
        bao::NAME => bao::run(parse(options)?).await,
        call::NAME => call::run(parse(options)?).await,
        clients::NAME => clients::run(parse(options)?).await,
        collect::NAME => collect::run(parse(options)?).await,
        decide::NAME => decide::run(parse(options)?).await,
        first::NAME => first::run(parse(options)?).await,
        hold::NAME => hold::run(parse(options)?).await,
        handshake::NAME => handshake::run(parse(options)?).await,
        reconnect::NAME => reconnect::run(parse(options)?).await,
        revocable::NAME => revocable::run(parse(options)?).await,
        records::NAME => records::run(parse(options)?).await,
        renew::NAME => renew::run(parse(options)?).await,
        serve::NAME => serve::run(parse(options)?).await,
        sign::NAME => sign::run(parse(options)?).await,
        subscribe::NAME => subscribe::run(parse(options)?).await,
        trust::NAME => trust::run(parse(options)?).await,
        verify::NAME => verify::run(parse(options)?).await,
        _ => Err(Error::other(format!("unknown role `{name}`"))),
    }
}

/// Runs a role that must be alone in its process, without a runtime's other threads; none: it is no such role.
#[must_use]
pub fn run_alone(name: &str, options: &str) -> Option<Result<(), Error>> {
    (name == operate::NAME).then(|| operate::run(&parse(options)?))
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::other(format!("`{json}`: {error}")))
}

/// Listens at `address`, or on a port of loopback that is free. Connections that come in a burst are queued, as many as
/// the system allows.
///
/// # Errors
/// What the system says.
pub fn listen(address: Option<SocketAddr>) -> Result<(TcpListener, SocketAddr), Error> {
    const BACKLOG: u32 = 4_096;
    let address = address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // For a server that is started again where it was.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(Error::system(format!("listen on {address}")))
}

/// Writes a line to standard output.
///
/// # Errors
/// What the system says.
pub fn say(answer: &impl Serialize) -> Result<(), Error> {
    let mut line = serde_json::to_string(answer).map_err(|error| Error::other(error.to_string()))?;
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::system("answer"))
}

/// The commands on standard input.
#[derive(Debug)]
pub struct Commands(Lines<BufReader<Stdin>>);

impl Default for Commands {
    fn default() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }
}

impl Commands {
    /// The next command; none at the end of the input.
    ///
    /// # Errors
    /// When it is not one.
    pub async fn next<C: DeserializeOwned>(&mut self) -> Result<Option<C>, Error> {
        let line = self.0.next_line().await.map_err(Error::system("read commands"))?;
        line.map(|line| parse(&line)).transpose()
    }
}
