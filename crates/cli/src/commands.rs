//! One module per noun.

pub(crate) mod bundle;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dump;
pub(crate) mod edges;
pub(crate) mod entry;
pub(crate) mod explain;
pub(crate) mod handshake;
pub(crate) mod policy;
mod record;
pub(crate) mod tap;
pub(crate) mod token;
pub(crate) mod whois;

use crate::error::CliError;
use crate::fleet::Fleet;
use crate::{output, timespan};
use avouch_spiffe::clock::{Clock, SystemClock};
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

fn now() -> SystemTime {
    SystemClock.now()
}

/// Says on standard error whose answers a result lacks.
///
/// # Errors
/// When nobody has answered: there is no result then.
fn say_silences(fleet: &Fleet) -> Result<(), CliError> {
    let silences = fleet.silences();
    if !fleet.is_heard() {
        return Err(CliError::NobodyAnswers { silences });
    }
    silences.iter().for_each(|silence| output::warn(silence));
    Ok(())
}

/// The exit status of a search.
fn found(something: bool) -> ExitCode {
    if something { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn time(at: Option<&prost_types::Timestamp>) -> Result<Option<SystemTime>, CliError> {
    at.map(|at| SystemTime::try_from(*at).map_err(|error| CliError::Answer(error.to_string()))).transpose()
}

fn json_time(at: Option<SystemTime>) -> Value {
    at.map_or(Value::Null, |at| timespan::rfc3339(at).into())
}

fn proto_duration(span: Duration) -> Result<prost_types::Duration, CliError> {
    span.try_into().map_err(|_| CliError::Answer("a span of time does not fit".to_owned()))
}

fn span(span: Option<&prost_types::Duration>) -> Result<Option<Duration>, CliError> {
    span.map(|span| Duration::try_from(*span).map_err(|error| CliError::Answer(error.to_string())))
        .transpose()
}
