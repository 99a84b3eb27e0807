//! Compiles the `avouch.*` protos and checks that each RPC has its rule.

fn main() -> Result<(), avouch_build::Error> {
    avouch_build::configure().contract_crate("::avouch_spiffe").contract_name("avouch").compile(
        &["../../proto/avouch/issuer/v1/issuer.proto", "../../proto/avouch/admin/v1/admin.proto"],
        &["../../proto"],
    )
}
