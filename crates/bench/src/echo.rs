//! The service that is called, and its API.

use tonic::{Request, Response, Status};

/// `avouch.bench.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from bench.proto")]
    tonic::include_proto!("avouch.bench.v1");
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

use crate::counts;
use v1::echo_server::Echo;
use v1::{EchoRequest, EchoResponse};

/// The number of messages by which a unary request asks the server to mark what is counted.
pub const MARK: u32 = u32::MAX;

/// Answers with what it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Service;

#[tonic::async_trait]
impl Echo for Service {
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { payload, messages } = request.into_inner();
        if messages == MARK {
            counts::mark();
        }
        Ok(Response::new(EchoResponse { payload }))
    }

    type StreamStream = Messages;

    async fn stream(&self, request: Request<EchoRequest>) -> Result<Response<Messages>, Status> {
        let EchoRequest { payload, messages } = request.into_inner();
        Ok(Response::new(Messages { payload, left: messages }))
    }
}

/// The messages of a stream, which are all there at once.
#[derive(Debug)]
pub struct Messages {
    payload: Vec<u8>,
    left: u32,
}

impl tokio_stream::Stream for Messages {
    type Item = Result<EchoResponse, Status>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let Some(left) = self.left.checked_sub(1) else { return std::task::Poll::Ready(None) };
        self.left = left;
        std::task::Poll::Ready(Some(Ok(EchoResponse { payload: self.payload.clone() })))
    }
}
