//! `avouch.observe.v1`: a recorder and the status of the process, served to operators.
//!
//! The authorization layer stands before it: only callers with one of its roles get here. Answers have at most
//! [`LARGEST_ANSWER`] bytes, and the open streams are limited, those of one caller and those of all.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use avouch_api::observe::v1::observe_server::{Observe as Rpcs, ObserveServer};
use avouch_api::observe::v1::{
    GetPolicyRequest, GetPolicyResponse, GetStatusRequest, GetStatusResponse, ListEdgesRequest,
    ListEdgesResponse, ListRecordsRequest, ListRecordsResponse, Record, Status as ProcessStatus,
    WatchRecordsRequest, WatchRecordsResponse,
};
use avouch_identity::status;
use avouch_spiffe::Reason;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Request, Response, Status};

use crate::entry::Caller;
use crate::filter::Matcher;
use crate::recorder::Recorder;
use crate::watch::WatchedRecord;

/// The most bytes of an answer: below the 4 MiB that clients accept by default.
const LARGEST_ANSWER: usize = 3 * 1024 * 1024;

/// The most open streams of records, of one caller and of all.
const STREAMS_OF_ONE: usize = 8;
const STREAMS: usize = 64;

/// The status of a process. Called off the async threads, since it may read files.
pub trait Source: Send + Sync + 'static {
    /// The identity, versions and state of the process.
    fn status(&self) -> ProcessStatus;
    /// The active policy, the one before it, and the rule of every method.
    fn policy(&self) -> GetPolicyResponse;
}

/// The service; clones share everything.
#[derive(Clone)]
pub struct Observe {
    recorder: Recorder,
    source: Arc<dyn Source>,
    streams: Arc<Streams>,
    drain: CancellationToken,
}

impl Observe {
    /// Serves `recorder` and `source`; its streams end when `drain` is cancelled.
    #[must_use]
    pub fn new(recorder: Recorder, source: Arc<dyn Source>, drain: CancellationToken) -> Self {
        Self { recorder, source, streams: Arc::default(), drain }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_server(self) -> ObserveServer<Self> {
        // The largest request holds one SPIFFE ID (2048 bytes) and a number.
        ObserveServer::new(self).max_decoding_message_size(16 * 1024)
    }

    async fn ask<T: Send + 'static>(&self, what: fn(&dyn Source) -> T) -> Result<T, Status> {
        let source = Arc::clone(&self.source);
        let answer = tokio::task::spawn_blocking(move || what(&*source)).await;
        answer.map_err(|_| status(Reason::NotReady, "the process is going down", []))
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Rpcs for Observe {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let status = self.ask(|source| source.status()).await?;
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }

    async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        Ok(Response::new(self.ask(|source| source.policy()).await?))
    }

    async fn list_edges(&self, _: Request<ListEdgesRequest>) -> Result<Response<ListEdgesResponse>, Status> {
        let mut edges = self.recorder.edges();
        shorten(&mut edges, Message::encoded_len);
        Ok(Response::new(ListEdgesResponse { edges }))
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let request = request.into_inner();
        let matcher = Matcher::from(&request.filter.unwrap_or_default());
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let mut records = self.recorder.list(&matcher, limit);
        shorten(&mut records, Message::encoded_len);
        Ok(Response::new(ListRecordsResponse { records }))
    }

    type WatchRecordsStream = Records;

    async fn watch_records(
        &self,
        request: Request<WatchRecordsRequest>,
    ) -> Result<Response<Records>, Status> {
        let caller = Caller::of(request.extensions());
        let slot = Streams::enter(&self.streams, caller.name())?;
        let matcher = Matcher::from(&request.into_inner().filter.unwrap_or_default());
        let records = Records {
            recorder: self.recorder.clone(),
            receiver: self.recorder.watch(matcher),
            drain: Box::pin(self.drain.clone().cancelled_owned()),
            _slot: slot,
        };
        Ok(Response::new(records))
    }
}

/// Leaves out the first messages, which are the oldest, until the rest fits into an answer.
fn shorten<T>(messages: &mut Vec<T>, size: impl Fn(&T) -> usize) {
    // Each message is preceded by its tag (1 byte) and its length (5 bytes at most).
    const AROUND: usize = 6;
    let mut total = 0;
    let fit = messages.iter().rev().take_while(|message| {
        total += size(message) + AROUND;
        total <= LARGEST_ANSWER
    });
    let too_many = messages.len() - fit.count();
    messages.drain(..too_many);
}

/// The number of open streams, by caller.
#[derive(Debug, Default)]
struct Streams(Mutex<HashMap<String, usize>>);

/// The slot of one open stream.
#[derive(Debug)]
struct StreamSlot {
    streams: Arc<Streams>,
    caller: String,
}

impl Streams {
    fn enter(streams: &Arc<Self>, caller: &str) -> Result<StreamSlot, Status> {
        let mut open = streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(caller).copied().unwrap_or_default();
        let all: usize = open.values().sum();
        if own >= STREAMS_OF_ONE || all >= STREAMS {
            let message = format!("{own} streams of records are open for {caller}, {all} for all");
            return Err(status(Reason::RateLimited, &message, []));
        }
        open.insert(caller.to_owned(), own + 1);
        Ok(StreamSlot { streams: Arc::clone(streams), caller: caller.to_owned() })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

/// Records as they come, until the caller leaves or the process drains.
pub struct Records {
    recorder: Recorder,
    receiver: mpsc::Receiver<WatchedRecord>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: StreamSlot,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Stream for Records {
    type Item = Result<WatchRecordsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.drain.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(cx).map(|seen| {
            let (record, missed): (Record, u64) = self.recorder.render(&seen?);
            Some(Ok(WatchRecordsResponse { record: Some(record), missed }))
        })
    }
}

#[cfg(test)]
mod tests;
