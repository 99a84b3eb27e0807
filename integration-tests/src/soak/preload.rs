//! Libraries that are preloaded (`LD_PRELOAD`) into the processes of a run, built here by the system's C compiler.
//!
//! Refuses where nothing can be preloaded: a run must not look better than it was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the loader reads.
pub(super) const LD_PRELOAD: &str = "LD_PRELOAD";

/// Builds the library of `source` into `dir`, under the name of its source.
///
/// # Errors
/// When there is no C compiler, or it refuses; on systems where processes are not started with `LD_PRELOAD`.
pub fn build(source: &Path, dir: &Path) -> io::Result<PathBuf> {
    if !cfg!(target_os = "linux") {
        let needed =
            "power cuts and jumps of the clock need LD_PRELOAD and /proc, which this system does not have";
        return Err(io::Error::other(needed));
    }
    let library = dir.join(source.file_stem().unwrap_or_default()).with_extension("so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"];
    let output = Command::new(&compiler).args(options).arg(&library).arg(source).output();
    let output = output
        .map_err(|error| io::Error::other(format!("no C compiler `{}`: {error}", compiler.display())))?;
    if output.status.success() {
        return Ok(library);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{} does not build {}: {text}", compiler.display(), source.display())))
}

/// Adds what a library needs to a process's environment, beside the libraries that are preloaded already.
pub(super) fn add(env: &mut BTreeMap<String, OsString>, more: impl IntoIterator<Item = (String, OsString)>) {
    for (key, value) in more {
        match env.get_mut(&key) {
            Some(libraries) if key == LD_PRELOAD => {
                libraries.push(":");
                libraries.push(value);
            }
            _ => drop(env.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), OsString::from(value))).collect()
    }

    #[test]
    fn two_libraries_are_preloaded_beside_each_other() {
        let mut both = env(&[("A", "1")]);
        add(&mut both, env(&[("LD_PRELOAD", "/a.so"), ("A", "2")]));
        add(&mut both, env(&[("LD_PRELOAD", "/b.so")]));
        assert_eq!(both, env(&[("A", "2"), ("LD_PRELOAD", "/a.so:/b.so")]));
    }
}
