//! Times and durations of the administration API's messages.

use crate::error::CliError;
use avouch_time::rfc3339;
use serde_json::Value;
use std::time::{Duration, SystemTime};

pub(super) fn time(at: Option<&prost_types::Timestamp>) -> Result<Option<SystemTime>, CliError> {
    at.map(|at| SystemTime::try_from(*at).map_err(CliError::answer)).transpose()
}

pub(super) fn json_time(at: Option<SystemTime>) -> Value {
    at.map_or(Value::Null, |at| rfc3339(at).into())
}

pub(super) fn duration(message: Option<&prost_types::Duration>) -> Result<Option<Duration>, CliError> {
    message.map(|message| Duration::try_from(*message).map_err(CliError::answer)).transpose()
}

pub(super) fn duration_message(duration: Duration) -> Result<prost_types::Duration, CliError> {
    duration.try_into().map_err(|_| CliError::answer("a duration does not fit"))
}
