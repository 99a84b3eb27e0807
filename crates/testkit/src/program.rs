//! A program as it starts on a machine on which nothing else of avouch runs, for every test that starts one.
//!
//! What a test's child inherits is what the person has who runs the tests: a collector to export traces to
//! (`OTEL_*`), configuration (`AVOUCH_*`), a log filter (`RUST_LOG`), a proxy (`https_proxy`), a service manager
//! (`NOTIFY_SOCKET`), and a runtime directory with the socket of an issuer that is none of the test's.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a child keeps: where programs are, and where a build that measures coverage writes to.
const KEPT: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// `program` with an environment of its own, for which `directory` is the place of temporary and runtime files, and no
/// standard input. Without a socket named it finds no issuer.
#[must_use]
pub fn alone(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    for name in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
        command.env(name, directory);
    }
    // `/run` would be looked into as well.
    command.env("AVOUCH_ADMIN_SOCKET", directory.join("no-issuer.sock")).env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}
