//! The gRPC service: parses requests, asks the book, answers. Authorization has happened before a request gets here.

use std::pin::Pin;
use std::sync::Arc;

use avouch_spiffe::PeerIdentity;
use market_api::ledger::v1::{
    CurrencyTotals, GetBalanceRequest, GetBalanceResponse, GetTotalsRequest, GetTotalsResponse, PostRequest,
    PostResponse, TailRequest, TailResponse, ledger_server,
};
use market_api::money::Currency;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{Account, Book, CurrencyTotal, LedgerError, Posting, Recorded, tail};

/// Serves a [`Book`] over gRPC.
#[derive(Clone, Debug)]
pub struct Service {
    book: Book,
    draining: CancellationToken,
}

impl Service {
    /// The service on top of `book`. Its streams end when `draining` is cancelled.
    #[must_use]
    pub fn new(book: Book, draining: CancellationToken) -> Self {
        Self { book, draining }
    }
}

/// The verified caller, which is stored with its posting.
fn peer<T>(request: &Request<T>) -> Result<Arc<PeerIdentity>, LedgerError> {
    request.extensions().get::<Arc<PeerIdentity>>().cloned().ok_or(LedgerError::NoPeer)
}

fn message(recorded: Recorded) -> TailResponse {
    TailResponse {
        sequence: recorded.sequence,
        posting: Some(recorded.posting.into()),
        posted_at: Some(recorded.at.into()),
        posted_by: recorded.by,
    }
}

#[tonic::async_trait]
impl ledger_server::Ledger for Service {
    type TailStream = Pin<Box<dyn Stream<Item = Result<TailResponse, Status>> + Send>>;

    #[tracing::instrument(skip_all, fields(posting_id, sequence))]
    async fn post(&self, request: Request<PostRequest>) -> Result<Response<PostResponse>, Status> {
        let peer = peer(&request)?;
        let posting: Posting = request.into_inner().posting.ok_or(LedgerError::NoPosting)?.try_into()?;
        let span = tracing::Span::current();
        span.record("posting_id", posting.id().as_str());
        let posted = self.book.post(posting, peer.spiffe_id()).await?;
        span.record("sequence", posted.sequence);
        Ok(Response::new(PostResponse { sequence: posted.sequence, created: posted.created }))
    }

    #[tracing::instrument(skip_all, fields(account = request.get_ref().account))]
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        let request = request.into_inner();
        let account: Account = request.account.parse()?;
        let currency: Currency = request.currency.parse().map_err(LedgerError::Money)?;
        let balance = self.book.balance(account, currency).await?;
        Ok(Response::new(GetBalanceResponse { balance: Some(balance.into()) }))
    }

    #[tracing::instrument(skip_all, fields(after = request.get_ref().after_sequence))]
    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let request = request.into_inner();
        let tail = tail::follow(
            self.book.clone(),
            request.after_sequence,
            request.stop_at_end,
            self.draining.clone(),
        );
        let stream = ReceiverStream::new(tail).map(|item| item.map(message).map_err(Status::from));
        Ok(Response::new(Box::pin(stream)))
    }

    #[tracing::instrument(skip_all)]
    async fn get_totals(
        &self,
        _request: Request<GetTotalsRequest>,
    ) -> Result<Response<GetTotalsResponse>, Status> {
        let totals = self.book.totals().await?;
        let row = |total: &CurrencyTotal| CurrencyTotals {
            currency: total.currency.as_str().to_owned(),
            postings: total.postings,
            debits_minor: total.debits_minor,
            credits_minor: total.credits_minor,
        };
        Ok(Response::new(GetTotalsResponse {
            currencies: totals.currencies.iter().map(row).collect(),
            last_sequence: totals.last_sequence,
        }))
    }
}
