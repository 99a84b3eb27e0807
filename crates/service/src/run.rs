//! Runs a process: parses its flags, starts it, prints an error exactly once, and returns the exit code.
//!
//! Exit codes: 0 success; 64 bad usage, configuration or policy (repair it and start again); 1 anything else. A second
//! SIGTERM or SIGINT ends the process at once, wherever it is, with 128 and the signal's number: 143 or 130.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use avouch_spiffe::contract::Contract;
use avouch_text::{clean_lines, hide_secrets};
use clap::Args;

use crate::app::{App, TELEMETRY_FLUSH_TIMEOUT};
use crate::boot::{self, Boot};
use crate::config::{Config, origin};
use crate::error::{BootError, BoxError};
use crate::health_check::{self, HealthCheckError};
use crate::launch_options::{self, Flags, LaunchOptions, NoFlags, ShowConfig};

/// Bad usage or configuration, after sysexits.h.
const USAGE: u8 = 64;

/// How long tokio's tasks may still run after `main` has ended.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// The whole `main` of a service: parses the common flags, boots, runs `main`, reports an error once.
pub fn run<F, R>(name: &'static str, contracts: &[&'static Contract], main: F) -> ExitCode
where
    F: FnOnce(App) -> R,
    R: Future<Output = Result<(), BoxError>>,
{
    run_with(name, contracts, |app, _: NoFlags| main(app))
}

/// As [`run`], for a service with flags of its own.
pub fn run_with<A, F, R>(name: &'static str, contracts: &[&'static Contract], main: F) -> ExitCode
where
    A: Args,
    F: FnOnce(App, A) -> R,
    R: Future<Output = Result<(), BoxError>>,
{
    run_checked(name, contracts, |_, _| Ok(()), main)
}

/// As [`run_with`], for a service with settings of its own: `check` refuses those that `main` could not use, so that
/// `--check-config` says what the start would say. It must start and change nothing.
///
/// ```no_run
/// # use std::process::ExitCode;
/// use avouch_service::{App, BootError, BoxError, Config, NoFlags};
/// # #[derive(serde::Deserialize)]
/// # struct Settings {}
///
/// fn check(config: &Config, _: &NoFlags) -> Result<(), BootError> {
///     config.settings::<Settings>()?;
///     Ok(config.needs_upstream("inventory")?)
/// }
///
/// # async fn orders(app: App, _: NoFlags) -> Result<(), BoxError> { Ok(()) }
/// fn main() -> ExitCode {
///     avouch_service::run_checked("orders", &[], check, orders)
/// }
/// ```
pub fn run_checked<A, C, F, R>(
    name: &'static str,
    contracts: &[&'static Contract],
    check: C,
    main: F,
) -> ExitCode
where
    A: Args,
    C: FnOnce(&Config, &A) -> Result<(), BootError>,
    F: FnOnce(App, A) -> R,
    R: Future<Output = Result<(), BoxError>>,
{
    let check = |config: &Config, own: &A| {
        config.needs_identity()?;
        check(config, own)
    };
    run_boot(name, contracts, check, async |boot: Boot, own: A| main(boot.start().await?, own).await)
}

/// As [`run_checked`], for a process that sees to its own identity: `main` gets the [`Boot`].
pub fn run_boot<A, C, F>(name: &'static str, contracts: &[&'static Contract], check: C, main: F) -> ExitCode
where
    A: Args,
    C: FnOnce(&Config, &A) -> Result<(), BootError>,
    F: AsyncFnOnce(Boot, A) -> Result<(), BoxError>,
{
    let (flags, own) = match launch_options::parse::<A>(name, std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    let outcome = if let Some(form) = flags.show_config {
        show(name, flags, form)
    } else if flags.health {
        health(name, flags)
    } else {
        start(name, contracts, LaunchOptions::of_process(flags), own, check, main)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Asked to stop before it was up, it stopped.
        Err(error) if matches!(error.downcast_ref(), Some(BootError::Stopped)) => ExitCode::SUCCESS,
        Err(error) => fail(name, &*error),
    }
}

/// The whole life of a process, in the order of every process.
///
/// The service's `main` runs between the identity and the end: it hands its routes to [`App::serve`], which takes the
/// steps from the listener to the drain (`app/serve.rs`).
fn start<A, C, F>(
    name: &'static str,
    contracts: &[&'static Contract],
    launch: LaunchOptions,
    own: A,
    check: C,
    main: F,
) -> Result<(), BoxError>
where
    C: FnOnce(&Config, &A) -> Result<(), BootError>,
    F: AsyncFnOnce(Boot, A) -> Result<(), BoxError>,
{
    // 1. The crypto provider: reading keys and exporting spans over TLS need it.
    boot::install_crypto_provider();
    // 2. Configuration and policy, all of it before anything starts: `--check-config` leaves nothing out that the start
    //    would refuse.
    let checked = boot::check(name, contracts, &launch)?;
    check(&checked.config, &own)?;
    if launch.flags.check_config {
        return say_checked(name, &checked.config);
    }
    in_runtime(async {
        // 3. Telemetry first, so that the rest is logged; then signals and the health port, since the identity may take long.
        let boot = Boot::begin(name, checked, &launch).await?;
        let telemetry = boot.telemetry().clone();
        // 4. The identity (`Boot::start`); 5. the listener, 6. ready, 7. the signal to stop, 8. the drain (`App::serve`).
        let outcome = main(boot, own).await;
        // 9. The last spans, also those of a start that failed.
        telemetry.shutdown(TELEMETRY_FLUSH_TIMEOUT).await;
        outcome
    })
}

/// The end of `--check-config`.
fn say_checked(name: &str, config: &Config) -> Result<(), BoxError> {
    // What telemetry would warn of is told, and is no fault: a process starts all the same.
    for warning in avouch_telemetry::check(name, &config.telemetry).map_err(BootError::from)? {
        writeln!(std::io::stderr(), "{name}: warning: {warning}")?;
    }
    writeln!(std::io::stdout(), "{name}: the configuration is good")?;
    Ok(())
}

fn in_runtime(work: impl Future<Output = Result<(), BoxError>>) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    outcome
}

/// `--show-config`.
fn show(name: &'static str, flags: Flags, form: ShowConfig) -> Result<(), BoxError> {
    let rows = origin::rows(name, &LaunchOptions::of_process(flags)).map_err(BootError::from)?;
    let shown = match form {
        ShowConfig::Table => origin::to_text(&rows),
        ShowConfig::Json => origin::to_json(&rows),
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    Ok(())
}

/// `--health`.
fn health(name: &'static str, flags: Flags) -> Result<(), BoxError> {
    let answer = health_check::ask(name, &LaunchOptions::of_process(flags))?;
    writeln!(std::io::stdout(), "{name}: {answer}")?;
    Ok(())
}

/// Help and version on standard output; anything else is bad usage.
fn usage(error: &clap::Error) -> ExitCode {
    // When even this cannot be printed, there is nowhere to say so.
    let text = error.render().to_string();
    let _ = match avouch_text::hide_secrets(&text) {
        Cow::Borrowed(_) => error.print(),
        // It quotes the argument it does not know.
        Cow::Owned(hidden) => std::io::stderr().write_all(hidden.as_bytes()),
    };
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

fn fail(name: &str, error: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    let _ = std::io::stderr().write_all(report(name, error).as_bytes());
    let usage = error.downcast_ref::<BootError>().is_some_and(BootError::is_usage)
        || error.downcast_ref::<HealthCheckError>().is_some_and(HealthCheckError::is_usage);
    if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// The error, what caused it, and what to do about it, each on its own lines. Values of the configuration and texts of
/// other parties are in it.
fn report(name: &str, error: &(dyn Error + Send + Sync + 'static)) -> String {
    let shown = |text: String| clean_lines(&hide_secrets(&text));
    let mut text = format!("{name}: error: {}\n", shown(error.to_string()));
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "  caused by: {}", shown(error.to_string()));
        cause = error.source();
    }
    if let Some(hint) = error.downcast_ref::<BootError>().and_then(BootError::hint) {
        let _ = writeln!(text, "  help: {}", shown(hint.into_owned()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConfigFault;
    use crate::config::ConfigError;

    fn unknown_section() -> BootError {
        let section = "servise".to_owned();
        ConfigError::from(ConfigFault::UnknownSection { section, suggestion: Some("service".into()) }).into()
    }

    #[test]
    fn an_error_is_printed_with_its_causes_once_each_and_its_help() {
        let text = report("orders", &unknown_section());
        assert_eq!(
            text,
            "orders: error: the configuration cannot be used\n  caused by: there is no section [servise]; did you \
             mean `service`?\n  help: configuration is read from each --config FILE in turn, then AVOUCH_SECTION__KEY, \
             then --set SECTION.KEY=VALUE\n"
        );
    }

    #[test]
    fn an_error_of_the_services_own_has_no_help_of_ours() {
        let error: BoxError = "the database is locked".into();
        assert_eq!(report("orders", &*error), "orders: error: the database is locked\n");
    }

    #[test]
    fn what_a_terminal_would_obey_and_what_looks_like_a_secret_is_not_printed() {
        let error: BoxError = "cannot read a\x1b[2Jb\u{202e}c".into();
        assert_eq!(report("orders", &*error), "orders: error: cannot read a�[2Jb�c\n");
        let error: BoxError = "cannot read avjt1.eyJpc3N1ZXIiOiJzcGlmZmU: no such file".into();
        assert_eq!(report("orders", &*error), "orders: error: cannot read (hidden): no such file\n");
    }

    #[test]
    fn what_the_starter_can_repair_is_usage_and_the_rest_is_not() {
        assert!(unknown_section().is_usage());
        assert!(BootError::from(ConfigFault::MissingSection("upstreams.ledger".into())).is_usage());
        assert!(!BootError::Signals(std::io::Error::from(std::io::ErrorKind::Other)).is_usage());
        assert!(!BootError::Stopped.is_usage());
    }
}
