//! A service with an identity, behind mutual TLS and a policy.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use avouch_service::{App, BoxError};
use bakery::v1::bakery_server::{Bakery, BakeryServer};
use bakery::v1::{BuyRequest, BuyResponse, LookRequest, LookResponse};
use tonic::{Request, Response, Status};

fn main() -> ExitCode {
    avouch_service::run("bakery", &[&bakery::CONTRACT], serve)
}

async fn serve(app: App) -> Result<(), BoxError> {
    let shelf = Shelf(AtomicU32::new(12));
    Ok(app.serve(tonic::service::Routes::new(BakeryServer::new(shelf))).await?)
}

/// Loaves that are left.
struct Shelf(AtomicU32);

#[tonic::async_trait]
impl Bakery for Shelf {
    async fn look(&self, _: Request<LookRequest>) -> Result<Response<LookResponse>, Status> {
        Ok(Response::new(LookResponse { loaves: self.0.load(Ordering::Relaxed) }))
    }

    async fn buy(&self, request: Request<BuyRequest>) -> Result<Response<BuyResponse>, Status> {
        let wanted = request.get_ref().loaves;
        let take = |left: u32| left.checked_sub(wanted);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(before) => Ok(Response::new(BuyResponse { left: before.saturating_sub(wanted) })),
            Err(left) => Err(Status::failed_precondition(format!("only {left} loaves are left"))),
        }
    }
}
