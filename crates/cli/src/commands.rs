//! What each command does: it takes plain values and an [`Output`](crate::output::Output). One module per noun.

pub(crate) mod audit;
pub(crate) mod bundle;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod crl;
pub(crate) mod dump;
pub(crate) mod edges;
pub(crate) mod entry;
pub(crate) mod explain;
pub(crate) mod handshake;
pub(crate) mod policy;
mod proto;
mod record;
pub(crate) mod revocations;
pub(crate) mod revoke;
pub(crate) mod tap;
pub(crate) mod token;
pub(crate) mod whois;

use crate::error::CliError;
use crate::output;
use avouch_fleet::Fleet;
use avouch_time::clock::{Clock, SystemClock};
use std::process::ExitCode;
use std::time::SystemTime;

fn now() -> SystemTime {
    SystemClock.now()
}

/// Prints on standard error which processes' answers are missing from a result.
///
/// # Errors
/// When nobody has answered: there is no result then.
fn warn_of_silences(fleet: &Fleet) -> Result<(), CliError> {
    let silences = fleet.silences();
    if !fleet.is_heard() {
        return Err(CliError::NobodyAnswers { silences });
    }
    silences.iter().for_each(|silence| output::warn(silence));
    Ok(())
}

/// The exit status of a question: 0 for yes, for something found, for everything in order.
fn exit_code(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
