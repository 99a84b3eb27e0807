//! Text for terminals and logs: which characters show as themselves, what becomes of those that do not, and an error
//! with its causes on one line.
//!
//! Text of strangers (a peer's certificate, a name in an archive, what a library says of either) passes one of these
//! functions before it is shown: [`clean`] or [`escape`] on one line, [`clean_lines`] where lines are wanted,
//! [`escape_json`] for JSON. What may hold a pasted secret passes [`hide_secrets`]. No dependency, no I/O.

mod causes;
mod printable;
mod secrets;

pub use causes::{WithCauses, with_causes};
pub use printable::{
    LONGEST_SHOWN, clean, clean_lines, escape, escape_json, is_printable, shorten, shorten_to,
};
pub use secrets::{HIDDEN, hide_secrets, looks_secret};
