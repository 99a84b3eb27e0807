//! Generated code and contract of the market's protos (`proto/market`), and the vocabulary that all of its services
//! share: IDs, money, and when to try a call again.
//!
//! The services speak in these types inside and in the generated ones at their borders. Nothing here does I/O.

pub mod ids;
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
    /// Takes orders and brings each to its end.
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
    /// The book: append-only, double entry.
    ledger, "market.ledger.v1"
}
package! {
    /// What the book says, for auditors.
    reports, "market.reports.v1"
}
package! {
    /// The front door's rules, and its calls over gRPC.
    storefront, "market.storefront.v1"
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));
