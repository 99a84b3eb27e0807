//! What tests of a service need, without an issuer and without containers: a [certificate authority](ca::Ca) in the
//! test's process that gives identities at once, a [server on loopback](loopback::serve), the [log](log::Log) as text,
//! [waiting](wait) with a deadline, and [programs](program::alone) that find nothing of the developer's machine.
//!
//! For `[dev-dependencies]` only: whatever fails here fails the test, by a panic. Keys and certificates are new in each
//! test, and are valid from a moment ago.
//!
//! ```no_run
//! use avouch_identity::{IdentityFilter, Server};
//! use avouch_testkit::ca::{Ca, domain, id};
//! use avouch_testkit::loopback;
//!
//! # async fn test(routes: tonic::service::Routes) {
//! let ca = Ca::new();
//! let (_rotate, server) = ca.identity("/ledger");
//! let (_rotate, client) = ca.identity("/payments");
//! let server = Server::new(server, IdentityFilter::trust_domain(domain()));
//! let running = loopback::serve(server, routes.prepare()).await;
//! let channel = client.channel(&running.url(), id("/ledger")).build().unwrap();
//! // … call it …
//! running.stop().await;
//! # }
//! ```

#![expect(clippy::expect_used, reason = "a test that cannot have what it needs fails")]

pub mod ca;
pub mod files;
pub mod log;
pub mod loopback;
pub mod program;
pub mod wait;
