//! The service __name__: its API, generated from its proto, and what it does.

use avouch_service::{App, BoxError};
use tonic::{Request, Response, Status};

/// `__ident__.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from __ident__.proto")]
    tonic::include_proto!("__ident__.v1");
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

use v1::__ident___server::{__Name__, __Name__Server};
use v1::{GreetRequest, GreetResponse};

/// Longest name that is greeted, in bytes.
const MAX_NAME: usize = 100;

/// Serves until the process is asked to stop.
///
/// # Errors
/// What keeps the listener from going on.
pub async fn serve(app: App) -> Result<(), BoxError> {
    app.announce::<__Name__Server<Service>>();
    app.reflect(FILE_DESCRIPTOR_SET);
    Ok(app.serve(tonic::service::Routes::new(__Name__Server::new(Service))).await?)
}

/// Answers the calls. Who may make them has been decided before.
#[derive(Debug)]
pub struct Service;

#[tonic::async_trait]
impl __Name__ for Service {
    async fn greet(&self, request: Request<GreetRequest>) -> Result<Response<GreetResponse>, Status> {
        let name = &request.get_ref().name;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Status::invalid_argument(format!("a name has 1 to {MAX_NAME} bytes")));
        }
        Ok(Response::new(GreetResponse { greeting: format!("hello, {name}") }))
    }
}
