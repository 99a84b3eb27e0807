//! avouch's server, whose trust state changes on command.

use std::net::SocketAddr;

use avouch_spiffe::RevocationKey;
use avouch_testkit::ca::id;
use serde::{Deserialize, Serialize};

use super::library::{self, Around};
use super::published::Published;
use super::{Commands, listen, say};
use crate::clock::monotonic;
use crate::error::Error;
use crate::pki::{Pki, SERVER};

/// The name of the role.
pub const NAME: &str = "revocable";

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Its certificates.
    pub pki: Pki,
    /// Revocations of certificates that nobody has.
    pub revocations: u32,
}

/// What it says when it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// A command: to have these identities revoked, by their names, and no others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    /// Their names; none: everybody may come again.
    pub names: Vec<String>,
}

/// What it did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// The time of the publication by [`monotonic`], in nanoseconds.
    pub at: u64,
}

/// Serves until the input ends.
///
/// # Errors
/// When it cannot begin.
pub async fn run(options: Options) -> Result<(), Error> {
    let (address, mut published) = start(&options).await?;
    say(&Ready { address })?;
    let mut commands = Commands::default();
    while let Some(revoke) = commands.next().await? {
        say(&publish(&mut published, &revoke)?)?;
    }
    Ok(())
}

/// Starts a server that serves for as long as the runtime lives.
///
/// # Errors
/// When it cannot begin.
pub(super) async fn start(options: &Options) -> Result<(SocketAddr, Published), Error> {
    let (listener, address) = listen(None)?;
    let published = Published::new(&options.pki, SERVER, options.revocations)?;
    library::serve_as(listener, published.identity.clone(), Around::Nothing)?;
    Ok((address, published))
}

/// Publishes a trust state.
///
/// # Errors
/// When there are too many revocations.
pub(super) fn publish(published: &mut Published, revoke: &Revoke) -> Result<Done, Error> {
    let keys: Vec<_> =
        revoke.names.iter().map(|name| RevocationKey::identity(&id(&format!("/{name}")))).collect();
    let at = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
    published.revoke(&keys)?;
    Ok(Done { at })
}
