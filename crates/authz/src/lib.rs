//! Who may call what. Each RPC declares its rule in its proto; a policy file binds SPIFFE IDs to roles and adds denies;
//! [`decide`] puts the two together, the same function online and in a command.
//!
//! Invariants: every call is denied unless a rule allows it; an RPC the contract does not know is denied; a deny rule wins
//! over every role; a policy that names an unknown role or method, or whose own tests fail, does not load, and then the
//! last good one stays active; audit mode lets through what lacks a role or what a deny rule names, never a caller
//! without an identity. Deciding reads memory only: no lock, no allocation for an allowed call, no clock.
//!
//! Authentication is not done here: the caller's identity comes verified, from the connection. The core knows neither
//! TLS nor tonic; [`layer`] is the adapter that enforces decisions on a tower service.

mod caller_class;
mod condition;
mod decide;
mod denial;
mod diff;
mod handle;
pub mod layer;
mod load;
mod matrix;
mod methods;
mod pattern;
mod policy;
#[cfg(test)]
mod testing;

pub use avouch_spiffe::contract;

pub use caller_class::{CallerClass, MAX_CERTIFICATES, TooManyCertificates};
pub use condition::{Certificate, PinError, UnmetCondition};
pub use decide::{Caller, LocalAdminCaller, Permit, decide};
pub use denial::Denial;
pub use diff::{CallOutcome, CallerMatrix, CallerRow, Change, ChangeKind, caller_matrix, diff};
pub use handle::{ActivePolicy, PolicyHandle, Reloaded, read_policy, read_policy_from};
pub use matrix::{Matrix, MatrixDeny, MatrixRow, Subject, matrix};
pub use methods::{ContractError, DEBUG_ROLE, MethodIndex, Methods};
pub use pattern::{CallerPattern, PatternError};
pub use policy::{
    ConditionFault, FailedCondition, MAX_POLICY_BYTES, NearestBinding, Policy, PolicyError, PolicyFault,
    PolicyProblem, SourceLocation, TestFault, Unused,
};
