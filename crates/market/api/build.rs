//! Compiles the market's protos and checks that every RPC says who may call it.

fn main() -> Result<(), avouch_build::Error> {
    avouch_build::configure().contract_crate("::avouch_spiffe").contract_name("market").compile(
        &[
            "../../../proto/market/money/v1/money.proto",
            "../../../proto/market/orders/v1/orders.proto",
            "../../../proto/market/inventory/v1/inventory.proto",
            "../../../proto/market/payments/v1/payments.proto",
            "../../../proto/market/ledger/v1/ledger.proto",
            "../../../proto/market/reports/v1/reports.proto",
            "../../../proto/market/storefront/v1/storefront.proto",
        ],
        &["../../../proto"],
    )
}
