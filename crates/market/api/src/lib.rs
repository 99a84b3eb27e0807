//! Generated code and contract of the market's protos (`proto/market`), and the vocabulary that all of its services
//! share: IDs, money, limits, and when to try a call again.
//!
//! The services use these types internally, and convert to and from the generated ones at their gRPC boundary. Nothing
//! here does I/O.

pub mod ids;
pub mod limits;
pub mod money;
pub mod retry;

/// Declares the module of one generated package.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        pub mod $name {
            /// Version 1 of the API.
            #[allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from the proto")]
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

package! {
    /// Accepts orders and drives each to a final state.
    orders, "market.orders.v1"
}
package! {
    /// Stock per article, and what is held for which order.
    inventory, "market.inventory.v1"
}
package! {
    /// Charges against a customer's credit.
    payments, "market.payments.v1"
}
package! {
    /// The ledger: append-only, double-entry bookkeeping.
    ledger, "market.ledger.v1"
}
package! {
    /// Totals of the ledger, for auditors.
    reports, "market.reports.v1"
}
package! {
    /// The storefront's RPCs and their access rules, which its HTTPS ingress enforces too.
    storefront, "market.storefront.v1"
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));
