//! What a proxy is configured for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::groups::servers::{CALLER_CORE, SERVER_CORE};
use crate::pki::Pki;

/// What a proxy does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop<'a> {
    pub(super) side: Side,
    pub(super) pki: &'a Pki,
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// Where it passes calls on to.
    pub(super) upstream: SocketAddr,
}

/// Where a proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// In front of the service: takes calls over mutual TLS.
    Service,
    /// Beside the caller: passes calls on over mutual TLS.
    Caller,
}

impl Side {
    pub(super) fn core(self) -> usize {
        match self {
            Self::Service => SERVER_CORE,
            Self::Caller => CALLER_CORE,
        }
    }
}

/// Writes a proxy's configuration to its directory.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(Error::system(format!("write {}", path.display())))?;
    Ok(path)
}
