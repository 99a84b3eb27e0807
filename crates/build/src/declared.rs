//! The rules that protos declare, without generating code: for programs that evaluate a policy under an API that they do
//! not serve.
//!
//! The same checks as in a build: an RPC without a rule, or with a wrong one, is refused here as well.

use std::path::Path;

use prost_reflect::DescriptorPool;

use crate::contract::{Contract, DeclaredRpc};
use crate::error::Error;
use crate::rules_file::RulesFile;
use crate::source::{self, Compiled};

/// The rules of `protos`, found under `includes`, and of `rules_file` for those that cannot be annotated; sorted by path.
///
/// # Errors
/// As for [`Builder::compile`](crate::Builder::compile), of which nothing is written.
pub fn rules_of_protos(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
    rules_file: Option<&Path>,
) -> Result<Vec<DeclaredRpc>, Error> {
    if protos.is_empty() {
        return Err(Error::NoProtos);
    }
    let compiled = source::compile(protos, includes)?;
    let rules_file = rules_file.map(RulesFile::read).transpose()?;
    let pool = DescriptorPool::decode(compiled.encoded.as_slice())?;
    Ok(Contract::collect(&pool, &compiled, rules_file.as_ref())?.rpcs)
}

/// The rules in an encoded `google.protobuf.FileDescriptorSet`, options included, such as a build writes to
/// `descriptor.bin`. A package in which any RPC has a rule must have one for each.
///
/// # Errors
/// If it is none, or a rule is missing or wrong.
pub fn rules_of_descriptors(encoded: &[u8]) -> Result<Vec<DeclaredRpc>, Error> {
    let pool = DescriptorPool::decode(encoded)?;
    let compiled = Compiled::from_pool(&pool, encoded);
    Ok(Contract::collect(&pool, &compiled, None)?.rpcs)
}

/// Whether a file with this import name is part of avouch itself, and resolved from inside this crate whatever lies on
/// disk.
#[must_use]
pub fn is_built_in(import_name: &str) -> bool {
    import_name == source::AUTHZ_PROTO
}
