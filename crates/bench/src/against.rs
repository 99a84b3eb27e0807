//! An older build of ours: a program that is there, or a revision that is built in a tree of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Build;
use crate::error::Error;

/// The programs that `just bench` builds.
pub const PACKAGES: [&str; 2] = ["avouch-bench", "avouch-issuer"];

/// The build that `binary_or_rev` names.
///
/// # Errors
/// When it is neither, or the revision cannot be built, or is from before there were benchmarks.
pub fn find(root: &Path, binary_or_rev: &str) -> Result<Build, Error> {
    let suffix = format!(" ({binary_or_rev})");
    let path = Path::new(binary_or_rev);
    if path.is_file() {
        let path = path.canonicalize().map_err(Error::system(format!("find {binary_or_rev}")))?;
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        return Ok(Build { suffix, dir });
    }
    let commit = format!("{binary_or_rev}^{{commit}}");
    let commit =
        said(Command::new("git").arg("-C").arg(root).args(["rev-parse", "--verify", "--quiet", &commit]))
            .map_err(|_| {
                Error::other(format!(
                    "`{binary_or_rev}` is neither a program nor a revision of this repository"
                ))
            })?;
    Ok(Build { suffix, dir: build(root, commit.trim())? })
}

fn build(root: &Path, commit: &str) -> Result<PathBuf, Error> {
    let tree = root.join("target/bench/against").join(commit);
    if !tree.exists() {
        let mut add = Command::new("git");
        add.arg("-C").arg(root).args(["worktree", "add", "--quiet", "--detach"]).arg(&tree).arg(commit);
        said(&mut add)?;
    }
    if !tree.join("crates/bench").exists() {
        return Err(Error::other(format!("{commit} is from before there were benchmarks of this kind")));
    }
    let target = tree.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&tree).args(["build", "--release", "--locked"]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["-p", package])).env("CARGO_TARGET_DIR", &target);
    let built = cargo.status().map_err(Error::system("run cargo"))?;
    if !built.success() {
        return Err(Error::other(format!("{commit} does not build: {built}")));
    }
    Ok(target.join("release"))
}

/// What a command prints.
fn said(command: &mut Command) -> Result<String, Error> {
    let output = command.output().map_err(Error::system(format!("run {command:?}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::other(format!("{command:?}: {}", said.trim())))
    }
}
