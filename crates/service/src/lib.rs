//! What every avouch program has in common: layered configuration, telemetry, identity, policy, a plain health port, signals
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
//! The boot order is fixed: crypto provider → configuration → telemetry → signals → health port → identity → listener → ready →
//! signal → drain. There is no switch that turns authentication or authorization off. Secrets are named by path and
//! never printed; an unknown configuration key stops the start (exit code 64).

mod address_file;
mod app;
mod boot;
mod config;
mod error;
mod health;
mod health_check;
mod launch_options;
mod lifecycle;
mod observe;
mod parts;
mod run;
mod signals;
mod socket_activation;
mod status;
mod systemd;
mod upstream;

pub use app::{App, ServeError};
pub use avouch_authz as authz;
pub use avouch_identity as identity;
pub use avouch_records as records;
pub use avouch_spiffe::{Bounds, OutOfBounds};
pub use avouch_telemetry as telemetry;
pub use avouch_time::ConfigDuration;
pub use boot::Boot;
pub use config::{Config, ConfigError, ConfigFault, Readable, Renamed, Scalar};
pub use error::{BootError, BoxError};
pub use launch_options::{Flags, LaunchOptions, NoFlags, ShowConfig};
pub use run::{run, run_boot, run_checked, run_with};
pub use socket_activation::ActivationError;
pub use upstream::TracedChannel;
