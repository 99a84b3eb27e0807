//! The start of a process: pins it to a core, sees to it that it does not outlive the one that starts it, and becomes it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Becomes `program`; returns only when that failed. The kernel watches the *thread* that started this process, which
/// is the main thread of the run.
#[must_use]
pub fn exec(parent: u32, core: Option<usize>, program: &OsString, args: &[OsString]) -> io::Error {
    match prepare(parent, core) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error,
    }
}

fn prepare(parent: u32, core: Option<usize>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map_or(0, Pid::as_raw_pid);
    if u32::try_from(now).ok() != Some(parent) {
        return Err(io::Error::other("the run has ended"));
    }
    if let Some(core) = core {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
    }
    Ok(())
}
