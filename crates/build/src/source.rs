//! Compiles proto files to descriptors, with protox: no `protoc`, and the custom options kept.
//!
//! Two forms leave this module. The *encoded* set still carries the rule option and is what the contract is read from;
//! the `prost_types` form has lost it and serves the code generator alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, ServiceDescriptor};
use prost_types::FileDescriptorSet;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::comments;
use crate::error::Error;
use crate::rule::OPTION;

/// The file that declares the rule option.
pub(crate) const AUTHZ_PROTO: &str = "avouch/authz/v1/authz.proto";
const AUTHZ_SOURCE: &str = include_str!("../../../proto/avouch/authz/v1/authz.proto");
const AUTHZ_PACKAGE: &str = "avouch.authz.v1";

/// The compiled files.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Encoded `google.protobuf.FileDescriptorSet`, imports and custom options included, comments not.
    pub(crate) encoded: Vec<u8>,
    /// Packages of the files that were asked for by name, imports not included.
    pub(crate) packages: BTreeSet<String>,
    /// The same descriptors with comments, options lost.
    set: FileDescriptorSet,
    /// The path of each file, by its import name.
    places: BTreeMap<String, PathBuf>,
}

/// Resolves [`AUTHZ_PROTO`] ahead of any include folder, so that a rule has only one meaning.
#[derive(Debug)]
struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == AUTHZ_PROTO {
            return File::from_source(name, AUTHZ_SOURCE);
        }
        Err(protox::Error::file_not_found(name))
    }
}

/// Compiles `protos`, each of which lies under one of `includes`.
pub(crate) fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<Compiled, Error> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Embedded);
    for include in includes {
        resolver.add(IncludeFileResolver::new(include.as_ref().to_owned()));
    }
    resolver.add(GoogleFileResolver::new());

    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for proto in protos {
        // Only the `Debug` form names file, line and column.
        compiler.open_file(proto).map_err(|error| Error::Proto(format!("{error:?}")))?;
    }
    let set = compiler.file_descriptor_set();
    let asked_for: BTreeSet<_> =
        compiler.files().filter(|file| !file.is_import()).map(|file| file.name().to_owned()).collect();
    let places =
        compiler.files().filter_map(|file| Some((file.name().to_owned(), file.path()?.to_owned()))).collect();
    let packages = set
        .file
        .iter()
        .filter(|file| asked_for.contains(file.name()))
        .map(|file| file.package().to_owned())
        .collect();
    compiler.include_source_info(false);
    Ok(Compiled { encoded: compiler.encode_file_descriptor_set(), packages, set, places })
}

impl Compiled {
    /// The files of a pool that was compiled elsewhere. The packages that must be complete are those in which some RPC has
    /// a rule; all, if none has, so that lost rules are noticed.
    pub(crate) fn from_pool(pool: &DescriptorPool, encoded: &[u8]) -> Self {
        let option = pool.get_extension_by_name(OPTION);
        let ruled = |service: &ServiceDescriptor| {
            let has = |option| service.methods().any(|method| method.options().has_extension(option));
            option.as_ref().is_some_and(has)
        };
        let package = |service: ServiceDescriptor| service.package_name().to_owned();
        let mut packages: BTreeSet<_> = pool.services().filter(ruled).map(package).collect();
        if packages.is_empty() {
            packages = pool.services().map(package).collect();
        }
        let file = pool.file_descriptor_protos().cloned().collect();
        Self { encoded: encoded.to_vec(), packages, set: FileDescriptorSet { file }, places: BTreeMap::new() }
    }

    /// The files that were read from disk.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.places.values().map(PathBuf::as_path)
    }

    /// Whether a file of the compiled packages imports the rule option.
    pub(crate) fn imports_option(&self) -> bool {
        self.set.file.iter().any(|file| {
            self.packages.contains(file.package())
                && file.dependency.iter().any(|dependency| dependency == AUTHZ_PROTO)
        })
    }

    /// The path of the file with import name `file`, for messages.
    pub(crate) fn shown(&self, file: &str) -> String {
        self.places.get(file).map_or_else(|| file.to_owned(), |path| path.display().to_string())
    }

    /// The line on which the element with descriptor path `path` starts.
    pub(crate) fn line(&self, file: &str, path: &[i32]) -> Option<usize> {
        let file = self.set.file.iter().find(|candidate| candidate.name() == file)?;
        let locations = &file.source_code_info.as_ref()?.location;
        let location = locations.iter().find(|location| location.path == path)?;
        location.span.first().and_then(|line| usize::try_from(*line).ok()).map(|line| line + 1)
    }

    /// The descriptors for the code generator: without the option's own package, with comments made safe for rustdoc. Google's
    /// well-known types stay: the generator reads them, though it writes none of them and refers to `prost_types`.
    pub(crate) fn for_code(&self) -> FileDescriptorSet {
        let mut files: Vec<_> =
            self.set.file.iter().filter(|file| file.package() != AUTHZ_PACKAGE).cloned().collect();
        for info in files.iter_mut().filter_map(|file| file.source_code_info.as_mut()) {
            for location in &mut info.location {
                let texts = [&mut location.leading_comments, &mut location.trailing_comments];
                for text in texts.into_iter().flatten() {
                    *text = comments::for_rustdoc(text);
                }
            }
        }
        FileDescriptorSet { file: files }
    }
}
