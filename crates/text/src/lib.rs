//! Text for terminals and logs: which characters show as themselves, how the others are replaced or escaped, an error
//! with its causes on one line, and the word that was probably meant.
//!
//! Untrusted text (a peer's certificate, a name in an archive, what a library says of either) passes one of these
//! functions before it is shown: [`clean`] or [`escape`] on one line, [`clean_lines`] where lines are wanted,
//! [`escape_json`] for JSON. What may hold a pasted secret passes [`hide_secrets`]. No I/O.

mod causes;
pub mod hex;
mod printable;
mod remark;
mod secrets;
mod suggest;

pub use causes::{WithCauses, with_causes};
pub use printable::{
    LONGEST_SHOWN, LONGEST_TEXT, clean, clean_lines, escape, escape_json, is_printable, shorten,
    shorten_path, shorten_to,
};
pub use remark::{LONGEST_REMARK, RemarkError, check_remark};
pub use secrets::{HIDDEN, hide_secrets, looks_secret};
pub use suggest::{suggest, suggest_within};
