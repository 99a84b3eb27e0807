//! Does one operation as often as it is told, between two marks: for the count of what that costs. It takes no commands.

use serde::{Deserialize, Serialize};

use super::say;
use crate::counts::operation::{Input, Operation, count};
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "operate";

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The operation.
    pub operation: Operation,
    /// How often it is done between the marks.
    pub times: u32,
    /// What it needs.
    #[serde(default)]
    pub input: Input,
}

/// What it says when the operation has been done as often as it was told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// How often.
    pub times: u32,
}

/// Does the operation, and ends. Calls bring a runtime of their own.
///
/// # Errors
/// When the operation fails, or cannot be prepared.
pub fn run(options: &Options) -> Result<(), Error> {
    let mut operation = options.operation.prepare(&options.input)?;
    count(operation.as_mut(), options.times)?;
    say(&Done { times: options.times })
}
