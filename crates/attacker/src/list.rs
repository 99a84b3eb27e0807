//! The attack list, in the order of the layers that the attacks meet: what is tried, and the reason it has to be refused
//! with.
//!
//! Nothing here judges the result: the caller compares it with the records of the refusing side.

mod calls;
mod issuance;
mod strangers;

use std::net::SocketAddr;

use crate::Error;
use crate::certificates::{ATTACKS, Workshop};
use crate::forge::Credentials;
use crate::grpc::{self, Attempt, Call};
use crate::tls::Approach;

pub use calls::{UNENTITLED, Unentitled, crowding};
pub use issuance::{Loot, Sleeper, enrolment, recovery};
pub use strangers::{raw, strangers};

/// An attack that was made.
#[derive(Debug)]
pub struct Made {
    /// Its name.
    pub name: &'static str,
    /// The reason in the record of the side that refuses.
    pub reason: &'static str,
    /// What the record's detail has to name.
    pub names: &'static str,
    /// What came of it, or why it could not be made.
    pub attempt: Result<Attempt, Error>,
}

/// Every forged certificate, shown to a service that is to take `call` for it.
///
/// # Errors
/// When there is nothing to forge with.
pub async fn certificates(
    workshop: &Workshop,
    target: SocketAddr,
    call: &Call<'_>,
) -> Result<Vec<Made>, Error> {
    let mut made = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(workshop)?;
        let attempt = grpc::attempt(target, Approach::showing(Some(&credentials)), call).await;
        made.push(Made { name: attack.name, reason: attack.reason, names: attack.names, attempt });
    }
    Ok(made)
}

/// The certificate of a false server, and the reason that it must be rejected for.
#[derive(Debug)]
pub struct False {
    /// Its name.
    pub name: &'static str,
    /// The reason that its client gives.
    pub reason: &'static str,
    /// What the client's message has to name.
    pub names: &'static str,
    /// What is shown.
    pub credentials: Credentials,
}

/// Every forged certificate in the name of `payments`, and a good one of `orders`.
///
/// # Errors
/// When there is nothing to forge with.
pub fn servers(payments: &Workshop, orders: &Workshop) -> Result<Vec<False>, Error> {
    let mut servers = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(payments)?;
        servers.push(False { name: attack.name, reason: attack.reason, names: attack.names, credentials });
    }
    servers.push(False {
        name: "a good certificate of another service",
        reason: "SERVER_IDENTITY_MISMATCH",
        names: "expected spiffe://market.example/payments, got spiffe://market.example/orders",
        credentials: orders.right()?,
    });
    Ok(servers)
}

fn made<const N: usize>(attempts: [(&'static str, &'static str, Result<Attempt, Error>); N]) -> Vec<Made> {
    let made = |(name, reason, attempt)| Made { name, reason, names: "", attempt };
    attempts.map(made).into()
}
