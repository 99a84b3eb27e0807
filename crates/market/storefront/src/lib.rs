//! The market's storefront: brings orders in, from a stream of JSON lines, from a trickle of its own, and through an HTTPS
//! ingress for shoppers who prove who they are.
//!
//! An order is only ever repeated under its own ID, so nothing is ordered twice, however often a call fails. A line that
//! is no order is reported with its number and reason; the rest goes on. The ingress admits nobody without a verified
//! certificate, and asks the same policy as every gRPC call.

mod desk;
mod ingress;
mod lines;
mod order_json;
mod process;
mod run;
mod service;
mod settings;
mod submit;
mod totals;
mod trickle;

pub use desk::{OrderDesk, OrdersService};
pub use ingress::{Ingress, router};
pub use lines::{Line, OrderLines};
pub use order_json::{AnswerJson, LineJson, OrderJson, RejectionJson};
pub use process::{check, run};
pub use run::{StreamEnd, StreamOptions, run_stream, run_trickle};
pub use service::Service;
pub use settings::{Flags, Settings};
pub use submit::{Outcome, SubmitOptions, Submitted, Submitter};
pub use totals::{Problem, Totals};
pub use trickle::Trickle;
