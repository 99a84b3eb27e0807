//! How a process of the demo is started so that it can't outlive the demo.
//!
//! The demo starts itself as `avouch-demo launch PARENT PROGRAM ARG…`. That copy asks the kernel to be killed when
//! the demo's main thread ends, however it ends, makes sure that this has not happened already, and becomes the
//! program. The request survives `exec`. The kernel watches the *thread* that started the process: processes are
//! started from the demo's one and only runtime thread, its main thread.
//!
//! Where there is no such kernel call, the sweep at the next start ([`crate::processes`]) is what remains.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Becomes `program`. Returns only when that failed.
#[must_use]
pub fn launch(parent: u32, program: &OsString, args: &[OsString]) -> io::Error {
    if let Err(error) = die_with(parent) {
        return error;
    }
    Command::new(program).args(args).exec()
}

#[cfg(target_os = "linux")]
fn die_with(parent: u32) -> io::Result<()> {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map_or(0, Pid::as_raw_pid);
    if u32::try_from(now).ok() == Some(parent) { Ok(()) } else { Err(io::Error::other("the demo has gone")) }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32) -> io::Result<()> {
    Ok(())
}
