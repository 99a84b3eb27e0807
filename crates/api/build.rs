//! Compiles the `avouch.*` protos and checks that each RPC has its rule.

fn main() -> Result<(), avouch_build::Error> {
    avouch_build::configure()
        .contract_crate("::avouch_spiffe")
        .contract_name("avouch")
        // The lines of record files and the content of dumps.
        .type_attribute(".avouch.observe.v1", "#[derive(serde::Serialize, serde::Deserialize)]")
        .type_attribute(".avouch.observe.v1", "#[serde(default)]")
        // Encoded once and shared by all subscribers.
        .bytes(".avouch.issuer.v1.WatchTrustResponse.trust")
        .bytes(".avouch.issuer.v1.IssuedSvid.trust")
        .compile(
            &[
                "../../proto/avouch/issuer/v1/issuer.proto",
                "../../proto/avouch/admin/v1/admin.proto",
                "../../proto/avouch/observe/v1/observe.proto",
            ],
            &["../../proto"],
        )
}
