//! The limits of a posting.

/// The most entries of a posting.
pub(crate) const MAX_ENTRIES: usize = 16;
/// The most characters of a description.
pub(crate) const MAX_DESCRIPTION: usize = 200;
/// The most characters of an account's name.
pub(crate) const MAX_ACCOUNT: usize = 100;
