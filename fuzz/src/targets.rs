//! The targets, each in its file.

mod bundle;
mod chain;
mod csr;
mod grpc_timeout;
mod handshake;
mod join_token;
mod policy;
mod spiffe_id;
mod trust_state;
mod trust_update;

/// What the code under test said of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took it.
    Accepted,
    /// It refused it.
    Refused,
}

impl<T, E> From<&Result<T, E>> for Outcome {
    fn from(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Accepted } else { Self::Refused }
    }
}

/// How inputs of a target are built, and so how they are mutated best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text; with words that mean something in it.
    Text(&'static [&'static str]),
    /// DER elements, one after the other.
    Der,
    /// A first byte that chooses what the rest is.
    Tagged,
}

/// One place where hostile input comes in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its folder among the seeds.
    pub name: &'static str,
    /// Feeds it; panics when a property does not hold.
    pub run: fn(&[u8]) -> Outcome,
    /// The form of its inputs.
    pub shape: Shape,
    /// How many mutations the ordinary tests run: about a second's worth.
    pub rounds: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "spiffe-id", run: spiffe_id::run, shape: Shape::Text(spiffe_id::WORDS), rounds: 10_000 },
    Target { name: "chain", run: chain::run, shape: Shape::Der, rounds: 2_000 },
    Target { name: "csr", run: csr::run, shape: Shape::Der, rounds: 2_000 },
    Target { name: "join-token", run: join_token::run, shape: Shape::Text(join_token::WORDS), rounds: 5_000 },
    Target { name: "policy", run: policy::run, shape: Shape::Text(policy::WORDS), rounds: 5_000 },
    Target { name: "bundle", run: bundle::run, shape: Shape::Text(bundle::WORDS), rounds: 2_000 },
    Target {
        name: "grpc-timeout",
        run: grpc_timeout::run,
        shape: Shape::Text(grpc_timeout::WORDS),
        rounds: 10_000,
    },
    Target { name: "handshake", run: handshake::run, shape: Shape::Tagged, rounds: 500 },
    Target { name: "trust-state", run: trust_state::run, shape: Shape::Tagged, rounds: 10_000 },
    Target { name: "trust-update", run: trust_update::run, shape: Shape::Tagged, rounds: 5_000 },
];
