//! What the demo prints: few lines that stay, and on a terminal one line that is rewritten while something is
//! going on.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Instant;

/// The demo's output. Permanent lines go to standard output, the progress line to standard error.
#[derive(Debug)]
pub struct Console {
    started: Instant,
    colour: bool,
    moving: bool,
    /// How many columns the moving line may have.
    width: usize,
    shown: Mutex<bool>,
}

/// How a line is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It held.
    Held,
    /// It did not.
    Failed,
    /// It was not looked at.
    Skipped,
    /// No mark.
    Plain,
    /// A heading.
    Bold,
}

impl Console {
    /// For this process's streams.
    #[must_use]
    pub fn new() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let width = std::env::var("COLUMNS").ok().and_then(|v| v.parse().ok()).unwrap_or(80_usize);
        Self {
            started: Instant::now(),
            colour,
            moving: io::stderr().is_terminal(),
            width,
            shown: Mutex::new(false),
        }
    }

    /// When it was made.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Prints a permanent line.
    pub fn line(&self, mark: Mark, text: &str) {
        self.clear();
        let (on, sign) = match mark {
            Mark::Held => ("\x1b[32m", "✓ "),
            Mark::Failed => ("\x1b[1;31m", "✗ "),
            Mark::Skipped => ("\x1b[1;33m", "! "),
            Mark::Plain => ("", ""),
            Mark::Bold => ("\x1b[1m", ""),
        };
        let mut out = io::stdout().lock();
        // Nobody may be reading any more; the run goes on for its exit status.
        let _ = match (self.colour, mark) {
            (true, Mark::Bold) => writeln!(out, "{on}{text}\x1b[0m"),
            (true, _) if !sign.is_empty() => writeln!(out, "{on}{sign}\x1b[0m{text}"),
            _ => writeln!(out, "{sign}{text}"),
        };
    }

    /// Rewrites the progress line; on a terminal only.
    pub fn progress(&self, text: &str) {
        if !self.moving {
            return;
        }
        let seconds = self.started.elapsed().as_secs();
        let line: String =
            format!("{seconds:>3} s  {text}").chars().take(self.width.saturating_sub(1)).collect();
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[2K{line}");
        let _ = err.flush();
        if let Ok(mut shown) = self.shown.lock() {
            *shown = true;
        }
    }

    fn clear(&self) {
        if let Ok(mut shown) = self.shown.lock()
            && std::mem::take(&mut *shown)
        {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.clear();
    }
}
