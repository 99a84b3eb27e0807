//! What the options of every command say.

use crate::output::Output;
use avouch_fleet::AdminSocket;
use clap::Args;
use std::path::PathBuf;

/// The options that every command has.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The issuer's administration socket [default: the one of the issuer this user runs]
    #[arg(long, global = true, env = "AVOUCH_ADMIN_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Write JSON to standard output
    #[arg(long, global = true)]
    json: bool,
}

impl GlobalArgs {
    pub(crate) fn admin(&self) -> AdminSocket {
        AdminSocket::new(self.socket.clone())
    }

    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }
}
