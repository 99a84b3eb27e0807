//! The shell of every avouch binary: layered configuration, telemetry, identity, policy, a plain health port, signals
//! and a bounded drain, so that a service's `main` holds nothing but the service.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use avouch_service::{App, BoxError};
//! use avouch_spiffe::contract::Contract;
//!
//! const CONTRACT: Contract = Contract { name: "orders", methods: &[] };
//!
//! async fn orders(app: App) -> Result<(), BoxError> {
//!     let _inventory = app.channel("inventory")?; // give it to a generated client
//!     let routes = tonic::service::Routes::default(); // .add_service(OrdersServer::new(..))
//!     Ok(app.serve(routes).await?)
//! }
//!
//! fn main() -> ExitCode {
//!     avouch_service::run("orders", &[&CONTRACT], orders)
//! }
//! ```
//!
//! The boot order is fixed: crypto provider → configuration → telemetry → health port → identity → listener → ready →
//! signal → drain. There is no switch that turns authentication or authorization off. Secrets are named by path and
//! never printed; an unknown configuration key stops the start (exit code 64).

mod activation;
mod address_file;
mod app;
mod boot;
mod config;
mod health;
mod health_check;
mod launch;
mod manager;
mod observe;
mod phase;
mod run;
mod serve;
mod signals;
mod status;
mod upstream;

pub use activation::ActivationError;
pub use app::App;
pub use avouch_authz as authz;
pub use avouch_identity as identity;
pub use avouch_records as records;
pub use avouch_spiffe::{Bounds, OutOfBounds};
pub use avouch_telemetry as telemetry;
pub use boot::{Boot, BootError};
pub use config::{Config, ConfigError, ConfigFault, Period, Readable, Scalar};
pub use launch::{Flags, Launch, NoFlags, ShowConfig};
pub use run::{BoxError, run, run_boot, run_checked, run_with};
pub use serve::ServeError;
pub use upstream::TracedChannel;
