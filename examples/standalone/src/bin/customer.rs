//! A workload that calls the bakery, as whoever its join token makes it.

use std::process::ExitCode;

use avouch_service::{App, BoxError};
use bakery::v1::bakery_client::BakeryClient;
use bakery::v1::{BuyRequest, LookRequest};
use clap::Args;

#[derive(Debug, Args)]
struct Order {
    /// How many loaves to buy.
    #[arg(long, default_value_t = 2)]
    loaves: u32,
}

fn main() -> ExitCode {
    avouch_service::run_with("customer", &[&bakery::CONTRACT], shop)
}

async fn shop(app: App, order: Order) -> Result<(), BoxError> {
    let mut bakery = BakeryClient::new(app.channel("bakery")?);
    let seen = bakery.look(LookRequest {}).await.map_err(refused)?.into_inner();
    println!("{} sees {} loaves", app.identity().spiffe_id(), seen.loaves);
    let bought = bakery.buy(BuyRequest { loaves: order.loaves }).await.map_err(refused)?.into_inner();
    println!("{} bought {}, {} are left", app.identity().spiffe_id(), order.loaves, bought.left);
    app.finish().await;
    Ok(())
}

/// A refusal says why, and names the decision that the bakery's log explains further.
fn refused(status: tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
