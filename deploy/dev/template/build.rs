//! Compiles the proto, without protoc, and fails for an RPC that does not say who may call it.

fn main() -> Result<(), avouch_build::Error> {
    avouch_build::configure().compile(&["proto/__ident__/v1/__ident__.proto"], &["proto"])
}
