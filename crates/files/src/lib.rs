//! Files of identities and configurations: bounded reads with a timeout, PEM, and secrets that only their owner can read.
//!
//! * [`read`] and [`Reader`] take regular files only, up to a limit; [`Reader`] also gives up in time.
//! * [`pem`] is the one reader and the one writer of PEM text. Its errors come with the command that repairs the file.
//! * [`NewFile`] puts a file in place as a whole and durably; [`PrivateDir`] is a directory of such files for one process of
//!   one user.
//! * [`open_append`] and [`create_private_file`] are for what is written in place: records, a database.
//!
//! Invariant: no error of this crate carries an octet of a file's content.

mod access;
mod error;
mod new_file;
pub mod pem;
mod private_dir;
mod private_file;
mod read;
mod reader;

pub use access::{OpenToOthers, effective_uid, key_is_private};
pub use error::PrivateDirError;
pub use new_file::{IfExists, NewFile, write_public, write_secret};
pub use private_dir::{PrivateDir, create_private_dir, examine_private_dir};
pub use private_file::{check_private_file, create_private_file, open_append};
pub use read::{Content, open_regular, read, read_with_metadata};
pub use reader::Reader;

/// The most octets that a file of one key, with its certificates, a token or a password is read to: 64 KiB.
pub const SECRET_LIMIT: u64 = 64 * 1024;

/// The most octets that a file of certificates or a bundle is read to: 4 MiB, some thousand roots.
pub const BUNDLE_LIMIT: u64 = 4 * 1024 * 1024;
