//! Compiles the proto, without protoc, and fails for an RPC that does not say who may call it.

fn main() -> Result<(), avouch_build::Error> {
    avouch_build::configure().compile(&["proto/bakery/v1/bakery.proto"], &["proto"])
}
