//! Processes under callgrind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MARK;
use super::operation::{Input, Operation};
use super::profile::Profile;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::peers::VALGRIND;
use crate::roles::operate;

/// The longest time of one count.
const WITHIN: Duration = Duration::from_secs(120);

/// valgrind, and where it writes.
#[derive(Debug, Clone)]
pub struct Callgrind {
    valgrind: PathBuf,
    dir: PathBuf,
}

impl Callgrind {
    /// Finds valgrind; it writes to `dir`.
    ///
    /// # Errors
    /// That `what` is skipped and why. Standard error has been told by then.
    pub fn find(root: &Path, dir: &Path, what: &str) -> Result<Self, String> {
        let valgrind = VALGRIND.find(root, what)?.program;
        Ok(Self { valgrind, dir: dir.to_owned() })
    }

    /// The same start under callgrind, and what it will have counted between the marks.
    #[must_use]
    pub fn wrap(&self, launch: Launch) -> (Launch, Output) {
        let file = self.dir.join(launch.name.replace(['/', ' '], "-")).with_extension("callgrind");
        // The first part ends at the first mark, the second at the second one.
        let path = file.with_extension("callgrind.2");
        // That of an earlier process must not be taken for this one's.
        let _ = fs::remove_file(&path);
        let program = launch.program.display().to_string();
        let mut args = vec!["--tool=callgrind".into(), "--quiet".into()];
        args.push(format!("--callgrind-out-file={}", file.display()).into());
        args.push(format!("--dump-before={MARK}").into());
        args.push(launch.program.into());
        args.extend(launch.args);
        (Launch { program: self.valgrind.clone(), args, ..launch }, Output { path, program })
    }

    /// Starts to count what an operation of this `program` costs.
    ///
    /// # Errors
    /// What the system says.
    pub fn operate(&self, program: &Path, operation: Operation, input: &Input) -> Result<Counting, Error> {
        self.operate_named(operation.name(), program, operation, input)
    }

    /// The same for a process with a name of its own.
    ///
    /// # Errors
    /// What the system says.
    pub fn operate_named(
        &self,
        name: &str,
        program: &Path,
        operation: Operation,
        input: &Input,
    ) -> Result<Counting, Error> {
        let times = operation.times();
        let options = operate::Options { operation, times, input: input.clone() };
        let launch = Launch::role(program, operate::NAME, &options).named(name);
        let (launch, output) = self.wrap(launch);
        Ok(Counting { child: launch.start(&self.dir)?, output, times })
    }
}

/// The profile that a process writes between the marks.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    program: String,
}

impl Output {
    /// Reads the profile; `times` operations were done between the marks.
    ///
    /// # Errors
    /// When it is not there, or is something else.
    pub fn each(&self, times: u32) -> Result<Each, Error> {
        let path = self.path.display();
        let action = format!("read {path} (has {} its symbols?)", self.program);
        let text = fs::read_to_string(&self.path).map_err(Error::system(action))?;
        let profile = Profile::parse(&text, &self.program);
        let profile = profile.map_err(|error| Error::other(format!("{path}: {error}")))?;
        Ok(Each::new(&profile, times))
    }
}

/// A count under way.
#[derive(Debug)]
pub struct Counting {
    child: Child,
    output: Output,
    times: u32,
}

impl Counting {
    /// Waits for the end; what one operation costs.
    ///
    /// # Errors
    /// When the operation fails, or takes too long.
    pub fn each(mut self) -> Result<Each, Error> {
        let operate::Done { times } = self.child.answer(WITHIN)?;
        if times != self.times {
            return Err(Error::other(format!("{times} operations were counted instead of {}", self.times)));
        }
        self.child.ended(WITHIN)?;
        self.output.each(times)
    }
}

/// What one operation costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Each {
    /// Instructions of our own and of libraries in Rust.
    pub own: f64,
    /// Instructions of the cryptography in C and assembly.
    pub cryptography: f64,
    /// Instructions of the C library.
    pub libraries: f64,
    /// Allocations.
    pub allocations: f64,
    /// Allocations made larger or smaller.
    pub reallocations: f64,
}

impl Each {
    /// The share of one of `times` operations.
    fn new(profile: &Profile, times: u32) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵³ instructions")]
        let each = |count: u64| count as f64 / f64::from(times);
        Self {
            own: each(profile.own),
            cryptography: each(profile.cryptography),
            libraries: each(profile.libraries),
            allocations: each(profile.allocations),
            reallocations: each(profile.reallocations),
        }
    }
}
