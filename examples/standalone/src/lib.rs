//! The bakery's API, generated from its proto, and the contract: who may call what.

/// `bakery.v1`.
pub mod v1 {
    tonic::include_proto!("bakery.v1");
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));
