//! The market's storefront: places orders from a stream of JSON lines, from a trickle of its own, and from an HTTPS ingress
//! for shoppers with certificates.
//!
//! An order is only ever repeated under its own ID, so nothing is ordered twice, however often a call fails. A line that
//! holds no order is reported with its number and reason; the rest goes on. The ingress admits nobody without a verified
//! certificate, and asks the same policy as every gRPC call.

mod ingress;
mod order_json;
mod order_reader;
mod orders_client;
mod process;
mod run;
mod service;
mod settings;
mod submit;
mod totals;
mod trickle;

pub use ingress::{Ingress, router};
pub use order_json::{AnswerJson, LineJson, OrderJson, RejectionJson};
pub use order_reader::{Line, OrderReader};
pub use orders_client::{GrpcOrdersClient, OrdersClient};
pub use process::{check, run};
pub use run::{StreamEnd, StreamOptions, run_stream, run_trickle};
pub use service::Service;
pub use settings::{Flags, Settings};
pub use submit::{OrderOutcome, SubmitOptions, Submitted, Submitter};
pub use totals::{Problem, Totals};
pub use trickle::Trickle;
