//! Who may call what. Each RPC declares its rule in its proto; a policy file binds SPIFFE IDs to roles and adds denies;
//! [`decide`] puts the two together, the same function online and in a command.
//!
//! Invariants: everything is refused unless a rule allows it; an RPC the contract does not know is refused; a deny wins
//! over every role; a policy that names an unknown role or method, or whose own tests fail, does not load, and then the
//! last good one stays in force; audit mode lets through what lacks a role or what a deny rule names, never a caller
//! without an identity. Deciding reads memory only: no lock, no allocation for an allowed call, no clock.
//!
//! Authentication is not done here: the caller's identity comes verified, from the connection. The core knows neither
//! TLS nor tonic; [`layer`] is the adapter that enforces decisions on a tower service.

mod classes;
mod condition;
mod decide;
mod denial;
mod diff;
mod handle;
pub mod layer;
mod matrix;
mod methods;
mod pattern;
mod policy;
mod suggest;
#[cfg(test)]
mod testing;

pub use avouch_spiffe::contract;

pub use classes::{CallerClass, MAX_CERTIFICATES, TooManyCertificates};
pub use condition::{Certificate, PinError, Unmet};
pub use decide::{Caller, LocalAdminCaller, Permit, decide};
pub use denial::{Denial, FailedCondition};
pub use diff::{CallerMatrix, CallerRow, Change, ChangeKind, Outcome, caller_matrix, diff};
pub use handle::{InForce, PolicyHandle, Reloaded, read_policy, read_policy_from};
pub use matrix::{Matrix, MatrixDeny, MatrixRow, Subject, matrix};
pub use methods::{ContractError, DEBUG_ROLE, MethodIndex, Methods};
pub use pattern::{CallerPattern, PatternError};
pub use policy::{
    ConditionFault, MAX_POLICY_BYTES, Nearest, Place, Policy, PolicyError, PolicyFault, PolicyProblem,
    TestFault, Unused,
};
