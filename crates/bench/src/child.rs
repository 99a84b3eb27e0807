//! Processes that are measured: started on a core of their own, spoken to in lines of JSON, and ended with this one.
//!
//! A role of this program ([`crate::roles`]) answers each line on its standard input with a line on its standard output,
//! and ends at the end of its input. Any other program is only started and ended. Both are started through
//! [`crate::roles::exec`], which has the kernel end them with this process whatever happens to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The longest time until a process is ready.
const READY: Duration = Duration::from_secs(30);

/// The longest time until a process has ended, before it is killed.
const END: Duration = Duration::from_secs(10);

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its name in messages, and that of its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What is added to its environment.
    pub env: Vec<(String, OsString)>,
    /// The core that it may use; all if there is none.
    pub core: Option<usize>,
}

impl Launch {
    /// A program without arguments, on any core.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), program: program.into(), args: Vec::new(), env: Vec::new(), core: None }
    }

    /// A role of an `avouch-bench` with its options.
    pub fn role(program: &Path, role: &str, options: &impl Serialize) -> Self {
        let options = serde_json::to_string(options).unwrap_or_default();
        Self::new(role, program).arg("role").arg(role).arg(options)
    }

    /// Names the process otherwise than its program or role.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds to the environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// Pins the process to a core.
    #[must_use]
    pub fn core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// Starts the process. Its log is `NAME.log` in `dir`; one that is there is continued.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(self, dir: &Path) -> Result<Child, Error> {
        let log = dir.join(self.name.replace(['/', ' '], "-")).with_extension("log");
        let out = File::options().create(true).append(true).open(&log);
        let out = out.map_err(Error::system(format!("write {}", log.display())))?;
        // This very program, also for the roles of an older one: what starts processes is none of what is compared.
        let own = std::env::current_exe().map_err(Error::system("find this program"))?;
        let mut command = Command::new(own);
        command.arg("exec").arg("--parent").arg(std::process::id().to_string());
        if let Some(core) = self.core {
            command.arg("--core").arg(core.to_string());
        }
        command.arg("--").arg(&self.program).args(&self.args).envs(self.env);
        // Nothing of the person's own environment reaches a process that is measured.
        for name in std::env::vars_os().map(|(name, _)| name) {
            if name.to_str().is_some_and(is_setting) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(out);
        let mut process =
            command.spawn().map_err(Error::system(format!("start {}", self.program.display())))?;
        let (send, lines) = channel();
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        if let Some(stdout) = stdout {
            // Ends with the process, or when nobody listens any more.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Child { name: self.name, log, process, stdin, lines })
    }
}

/// What avouch programs and their libraries read from the environment.
fn is_setting(name: &str) -> bool {
    ["AVOUCH_", "OTEL_", "RUST_LOG", "TRACEPARENT", "NOTIFY_SOCKET", "LISTEN_"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// A process under way. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Child {
    /// Its process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The first line of a role: that it is ready, and where.
    ///
    /// # Errors
    /// When it ends, says nothing in time, or says something else.
    pub fn ready<A: DeserializeOwned>(&mut self) -> Result<A, Error> {
        self.answer(READY)
    }

    /// Sends a role a command, and waits for its answer.
    ///
    /// # Errors
    /// As [`Child::ready`].
    pub fn ask<A: DeserializeOwned>(
        &mut self,
        command: &impl Serialize,
        within: Duration,
    ) -> Result<A, Error> {
        self.tell(command)?;
        self.answer(within)
    }

    /// Sends a role a command, whose answer is taken later by [`Child::answer`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn tell(&mut self, command: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_string(command).unwrap_or_default();
        line.push('\n');
        let written = self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(line.as_bytes()).is_ok());
        if written { Ok(()) } else { Err(self.failed("has ended")) }
    }

    /// The next line of a role.
    ///
    /// # Errors
    /// As [`Child::ready`].
    pub fn answer<A: DeserializeOwned>(&mut self, within: Duration) -> Result<A, Error> {
        let line = self.line(within)?;
        serde_json::from_str(&line).map_err(|error| self.failed(format!("said `{line}`: {error}")))
    }

    /// The next line of any program.
    ///
    /// # Errors
    /// When it ends, or says nothing in time.
    pub fn line(&mut self, within: Duration) -> Result<String, Error> {
        self.lines.recv_timeout(within).map_err(|error| match error {
            RecvTimeoutError::Timeout => self.failed(format!("no answer within {within:?}")),
            RecvTimeoutError::Disconnected => self.failed("has ended"),
        })
    }

    /// Waits until the process has written a file, and has finished that.
    ///
    /// # Errors
    /// When it ends, or takes too long.
    pub fn wrote(&mut self, path: &Path) -> Result<String, Error> {
        let began = Instant::now();
        loop {
            match fs::read_to_string(path) {
                Ok(text) if text.ends_with(['}', '\n']) => return Ok(text),
                _ => self.still_starting(began, &format!("{} is not written", path.display()))?,
            }
        }
    }

    /// Waits until the process accepts connections on a port of loopback.
    ///
    /// # Errors
    /// When it ends, or takes too long.
    pub fn listens(&mut self, port: u16) -> Result<(), Error> {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            self.still_starting(began, &format!("nobody listens on port {port}"))?;
        }
        Ok(())
    }

    fn still_starting(&mut self, began: Instant, what: &str) -> Result<(), Error> {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return Err(self.failed("has ended"));
        }
        if began.elapsed() > READY {
            return Err(self.failed(format!("{what} after {READY:?}")));
        }
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    /// The CPU time of all its threads that have not ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu_of_threads(|_| true)
    }

    /// The CPU time of its threads with this name.
    #[must_use]
    pub fn cpu_of_thread(&self, name: &str) -> Duration {
        self.cpu_of_threads(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
    }

    fn cpu_of_threads(&self, which: impl Fn(&Path) -> bool) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let tasks = tasks.filter(|task| which(&task.path()));
        // proc(5): nanoseconds on the CPU, nanoseconds in the queue, slices.
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Its resident memory in KiB: of now, or the largest it has been.
    #[must_use]
    pub fn resident_kib(&self, peak: bool) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let key = if peak { "VmHWM:" } else { "VmRSS:" };
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }

    /// Ends the process: a role at the end of its input, any other by SIGTERM.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn end(mut self) -> Result<(), Error> {
        self.stdin = None;
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // A process that has ended already is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < END {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(self.failed(format!("still runs {END:?} after SIGTERM")))
    }

    /// Waits for the end of a process that ends by itself.
    ///
    /// # Errors
    /// When it failed, or does not end in time.
    pub fn ended(mut self, within: Duration) -> Result<(), Error> {
        self.stdin = None;
        let began = Instant::now();
        while began.elapsed() < within {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(format!("ended: {status}"))),
                Err(_) => return Err(self.failed("has ended")),
            }
        }
        Err(self.failed(format!("still runs after {within:?}")))
    }

    fn failed(&self, what: impl Into<String>) -> Error {
        Error::Child { name: self.name.clone(), what: what.into(), log: self.log.display().to_string() }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
