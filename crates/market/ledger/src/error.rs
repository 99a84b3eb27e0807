//! The errors of this service, and their one conversion to a gRPC status.

use avouch_spiffe::Reason;
use avouch_sqlite::StoreError;
use market_api::ids::IdError;
use market_api::money::{Currency, MoneyError};
use tonic::Status;

use crate::limits::{MAX_DESCRIPTION, MAX_ENTRIES};

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// An ID is invalid.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An amount is invalid.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// An account's name breaks the grammar.
    #[error("an account is segments of a-z, 0-9 and '-', joined by '/'")]
    Account,
    /// A description is too long, or has control characters.
    #[error("a description has at most {MAX_DESCRIPTION} characters, none of them a control character")]
    Description,
    /// The request holds no posting.
    #[error("the posting is missing")]
    NoPosting,
    /// Fewer than two entries, or too many.
    #[error("a posting has 2 to {MAX_ENTRIES} entries")]
    EntryCount,
    /// An entry of zero.
    #[error("an entry is never zero")]
    ZeroEntry,
    /// Debits and credits differ.
    #[error("the entries in {0} do not add up to zero")]
    Unbalanced(Currency),
    /// The posting's ID was used for another posting.
    #[error("the posting ID was used with other content")]
    OtherContent,
    /// The request came without a verified peer.
    #[error("the connection has no verified peer")]
    NoPeer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<avouch_sqlite::rusqlite::Error> for LedgerError {
    fn from(error: avouch_sqlite::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Self {
        let message = error.to_string();
        match error {
            LedgerError::Id(_)
            | LedgerError::Money(_)
            | LedgerError::Account
            | LedgerError::Description
            | LedgerError::NoPosting
            | LedgerError::EntryCount
            | LedgerError::ZeroEntry
            | LedgerError::Unbalanced(_) => Self::invalid_argument(message),
            LedgerError::OtherContent => Self::already_exists(message),
            LedgerError::NoPeer => avouch_identity::status(Reason::NoPeerIdentity, message, []),
            LedgerError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::unavailable("the store failed")
            }
        }
    }
}
