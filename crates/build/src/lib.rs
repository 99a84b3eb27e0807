//! A library for `build.rs`: compiles protos without `protoc`, checks that every RPC declares who may call it, and
//! writes the tonic code together with the table of rules (the *contract*) that `avouch-authz` enforces at run time.
//!
//! ```no_run
//! fn main() -> Result<(), avouch_build::Error> {
//!     avouch_build::configure().compile(&["proto/shop/v1/shop.proto"], &["proto"])
//! }
//! ```
//!
//! and, in the crate:
//!
//! ```ignore
//! pub mod v1 { tonic::include_proto!("shop.v1"); }
//! include!(concat!(env!("OUT_DIR"), "/contract.rs"));   // CONTRACT and FILE_DESCRIPTOR_SET
//! ```
//!
//! `avouch/authz/v1/authz.proto` and Google's well-known types resolve from inside this crate: a user copies neither.
//!
//! It refuses: an RPC of the compiled packages without a rule, a rule that is not exactly one of the four kinds, a role
//! name outside `[a-z][a-z0-9-]*`, a rules file that names an RPC which does not exist, and, as its own error,
//! descriptors in which no rule is left at all. The option only survives in the *encoded* descriptor set; through
//! `prost_types` it would be lost silently, and every RPC would appear to have no rule.
//!
//! Generated clients have no `connect` of their own: a channel comes from the identity library, which knows the
//! expected server identity.

mod comments;
mod contract;
mod declared;
mod error;
mod rule;
mod rules_file;
mod source;
mod source_location;

use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;

pub use contract::DeclaredRpc;
pub use declared::{is_built_in, rules_of_descriptors, rules_of_protos};
pub use error::{Error, RuleFault, RuleProblem};
pub use rule::Rule;
pub use source_location::SourceLocation;

use crate::contract::Contract;
use crate::rules_file::RulesFile;
use crate::source::Compiled;

/// Starts a build with the defaults: server and client code, the contract's types taken from `::avouch_authz`.
#[must_use]
pub fn configure() -> Builder {
    Builder {
        contract_crate: "::avouch_authz".to_owned(),
        contract_name: None,
        rules_file: None,
        build_server: true,
        build_client: true,
        extern_paths: Vec::new(),
        type_attributes: Vec::new(),
        bytes: Vec::new(),
        out_dir: None,
    }
}

/// A build of protos, with its options. Made by [`configure`].
#[derive(Clone, Debug)]
pub struct Builder {
    contract_crate: String,
    contract_name: Option<String>,
    rules_file: Option<PathBuf>,
    build_server: bool,
    build_client: bool,
    extern_paths: Vec<(String, String)>,
    type_attributes: Vec<(String, String)>,
    bytes: Vec<String>,
    out_dir: Option<PathBuf>,
}

impl Builder {
    /// The crate whose `contract` module holds the table's types. Default: `::avouch_authz`.
    pub fn contract_crate(&mut self, path: impl Into<String>) -> &mut Self {
        self.contract_crate = path.into();
        self
    }

    /// The contract's name in messages and metrics. Default: the package being built.
    pub fn contract_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.contract_name = Some(name.into());
        self
    }

    /// A TOML file with the rules of RPCs whose protos cannot be annotated:
    ///
    /// ```toml
    /// [rules]
    /// "/foreign.v1.Store/Get" = { any_identity = true }
    /// "/foreign.v1.Store/Put" = { roles = ["store-writer"] }
    /// ```
    ///
    /// An RPC has its rule here or in its proto, never in both.
    pub fn rules_file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.rules_file = Some(path.into());
        self
    }

    /// Whether to generate server code. Default: yes.
    pub fn build_server(&mut self, yes: bool) -> &mut Self {
        self.build_server = yes;
        self
    }

    /// Whether to generate client code. Default: yes.
    pub fn build_client(&mut self, yes: bool) -> &mut Self {
        self.build_client = yes;
        self
    }

    /// Takes a package or message (`.common.v1`) from elsewhere (`::common_api::v1`) rather than generating it.
    pub fn extern_path(&mut self, proto: impl Into<String>, rust: impl Into<String>) -> &mut Self {
        self.extern_paths.push((proto.into(), rust.into()));
        self
    }

    /// Puts an attribute (`#[derive(serde::Serialize)]`) on the types of a package or on one message (`.shop.v1`).
    pub fn type_attribute(&mut self, proto: impl Into<String>, attribute: impl Into<String>) -> &mut Self {
        self.type_attributes.push((proto.into(), attribute.into()));
        self
    }

    /// Generates `Bytes`, which clones share, for a field (`.shop.v1.Answer.content`) that holds bytes.
    pub fn bytes(&mut self, field: impl Into<String>) -> &mut Self {
        self.bytes.push(field.into());
        self
    }

    /// Where to write. Default: `OUT_DIR`, which Cargo sets for build scripts.
    pub fn out_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.out_dir = Some(path.into());
        self
    }

    /// Compiles `protos`, found under `includes`; writes one Rust file per package, `contract.rs` and `descriptor.bin`.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is written unless every RPC of the compiled packages has its rule.
    pub fn compile(&self, protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<(), Error> {
        if protos.is_empty() {
            return Err(Error::NoProtos);
        }
        let out_dir = match &self.out_dir {
            Some(dir) => dir.clone(),
            None => std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or(Error::NoOutDir)?,
        };
        for proto in protos {
            rerun_if_changed(proto.as_ref());
        }
        let compiled = source::compile(protos, includes)?;
        for path in compiled.paths() {
            rerun_if_changed(path);
        }
        if let Some(path) = &self.rules_file {
            rerun_if_changed(path);
        }
        let rules_file = self.rules_file.as_deref().map(RulesFile::read).transpose()?;

        let pool = DescriptorPool::decode(compiled.encoded.as_slice())?;
        let contract = Contract::collect(&pool, &compiled, rules_file.as_ref())?;

        self.generate(&compiled, &out_dir)?;
        write(&out_dir.join("descriptor.bin"), &compiled.encoded)?;
        let name = self.name();
        write(&out_dir.join("contract.rs"), contract.render(&name, &self.contract_crate).as_bytes())
    }

    fn name(&self) -> String {
        self.contract_name
            .clone()
            .or_else(|| std::env::var("CARGO_PKG_NAME").ok())
            .unwrap_or_else(|| "contract".to_owned())
    }

    fn generate(&self, compiled: &Compiled, out_dir: &Path) -> Result<(), Error> {
        let mut builder = tonic_prost_build::configure()
            .build_server(self.build_server)
            .build_client(self.build_client)
            .build_transport(false)
            .out_dir(out_dir);
        for (proto, rust) in &self.extern_paths {
            builder = builder.extern_path(proto, rust);
        }
        for (proto, attribute) in &self.type_attributes {
            builder = builder.type_attribute(proto, attribute);
        }
        for field in &self.bytes {
            builder = builder.bytes(field);
        }
        builder.compile_fds(compiled.for_code()).map_err(Error::Generate)
    }
}

/// Tells Cargo to run the build script again when `path` changes; silent outside a build script.
#[expect(clippy::print_stdout, reason = "Cargo reads a build script's instructions from its standard output")]
fn rerun_if_changed(path: &Path) {
    if std::env::var_os("OUT_DIR").is_some() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    // An unchanged file keeps its date, so that the crate is not compiled again for nothing.
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
