//! Everything that goes wrong here, and the one place that turns it into a gRPC status.

use avouch_spiffe::Reason;
use market_api::ids::IdError;
use market_api::money::{Currency, MoneyError};
use market_store::StoreError;
use tonic::Status;

use crate::tail::TailEnd;

/// What the ledger refuses, or fails at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// An ID is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An amount is not one.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// An account's name breaks the grammar.
    #[error("an account is segments of a-z, 0-9 and '-', joined by '/'")]
    Account,
    /// A description is too long, or has control characters.
    #[error(
        "a description has at most {} characters, none of them a control character",
        crate::posting::MAX_DESCRIPTION
    )]
    Description,
    /// The request holds no posting.
    #[error("the posting is missing")]
    NoPosting,
    /// Fewer than two entries, or too many.
    #[error("a posting has 2 to {} entries", crate::posting::MAX_ENTRIES)]
    EntryCount,
    /// An entry that moves nothing.
    #[error("an entry is never zero")]
    ZeroEntry,
    /// Debits and credits differ.
    #[error("the entries in {0} do not add up to zero")]
    Unbalanced(Currency),
    /// The posting's ID stands for something else already.
    #[error("the posting ID was used with other content")]
    OtherContent,
    /// Nobody is known to have sent the request.
    #[error("the connection has no verified peer")]
    NoPeer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<market_store::rusqlite::Error> for LedgerError {
    fn from(error: market_store::rusqlite::Error) -> Self {
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

impl From<TailEnd> for Status {
    fn from(end: TailEnd) -> Self {
        let message = end.to_string();
        match end {
            TailEnd::Draining { cursor } => {
                avouch_identity::status(Reason::ConnectionRetiring, message, [("cursor", cursor.to_string())])
            }
            TailEnd::BeyondEnd { .. } => Self::out_of_range(message),
            TailEnd::Ledger(error) => error.into(),
        }
    }
}
