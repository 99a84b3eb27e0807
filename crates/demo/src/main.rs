//! `avouch-demo`: runs the market and proves it (`run`), keeps it running (`up`), or clears away (`clean`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use avouch_demo::console::{Console, Mark};
use avouch_demo::entry::{self, Launch, system};
use avouch_demo::facts::Facts;
use avouch_demo::paths::{Paths, TRUST_DOMAIN};
use avouch_demo::processes::PidFile;
use avouch_demo::run::RunOptions;
use avouch_demo::setup::SetupError;
use avouch_demo::{report, run, skew, up, waterfall};
use clap::{Parser, Subcommand};

/// Printed lines of the waterfall, so that all of it stays within one screen.
const WATERFALL: usize = 9;

#[derive(Debug, Parser)]
#[command(
    name = "avouch-demo",
    version,
    about = "Runs the demo's market. Called by ./just demo and ./just up."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets the market up, attacks it, kills parts of it, and reports what held. Exit status 0 only if all did.
    Run {
        /// Orders as JSON lines; `-` for standard input. Default: those in deploy/demo.
        #[arg(long, value_name = "FILE|-")]
        orders: Option<PathBuf>,
        /// Also writes the facts of the run to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Keeps the market running with a trickle of orders until Ctrl-C.
    Up {
        /// Orders as JSON lines. Default: those in deploy/demo.
        #[arg(long, value_name = "FILE")]
        orders: Option<PathBuf>,
        /// Where everything is written, so that it can run beside another. Default: target/demo.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Runs the market with the issuer of one build and the services of another, both ways round. Called by ./just skew.
    Skew {
        /// The repository of the older build, with its programs in target/debug.
        #[arg(long, value_name = "DIR")]
        older: PathBuf,
    },
    /// Ends what an earlier demo left running, and removes target/demo and certs/dev.
    Clean,
    /// Becomes PROGRAM, and ends with the demo.
    #[command(hide = true)]
    Launch(Launch),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Launch(launch) => launch.become_program(),
        command => entry::to_exit_code(async |console| act(command, console).await),
    }
}

async fn act(command: Command, console: &Console) -> Result<bool, SetupError> {
    let paths = entry::paths()?;
    match command {
        Command::Run { orders, json } => {
            let line = format!(
                "avouch demo: {TRUST_DOMAIN}, an issuer and six services, certificates that live 20 s"
            );
            console.line(Mark::Bold, &line);
            let options = RunOptions { orders };
            let facts = run::run(paths.clone(), &options, console).await?;
            finish(&facts, &paths, json.as_deref(), console)?;
            Ok(facts.held())
        }
        Command::Up { orders, dir } => {
            let paths = match dir {
                Some(dir) => paths.within(std::path::absolute(dir).map_err(system("find the directory"))?),
                None => paths,
            };
            up::up(paths, orders, console).await?;
            Ok(true)
        }
        Command::Skew { older } => {
            let older = std::path::absolute(older).map_err(system("find the older build"))?;
            skew::skew(&paths, older, console).await
        }
        Command::Clean => clean(&paths, console).map_err(system("clear away")),
        Command::Launch(_) => Ok(false),
    }
}

/// Writes the report and the facts, and prints the end.
fn finish(facts: &Facts, paths: &Paths, json: Option<&Path>, console: &Console) -> Result<(), SetupError> {
    let text = serde_json::to_string_pretty(facts).map_err(|error| SetupError::Other(error.to_string()))?;
    let page = paths.dir.join("report.html");
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(system(&format!("write {}", path.display())))
    };
    write(&paths.dir.join("facts.json"), &text)?;
    write(&page, &report::render(facts))?;
    if let Some(json) = json {
        write(json, &text)?;
    }
    if let Some(trace) = &facts.trace {
        console.line(Mark::Bold, "One order: who called, and what was decided");
        for line in waterfall::lines(trace, &facts.trust_domain, WATERFALL) {
            console.line(Mark::Plain, &line);
        }
    }
    if let Some(explained) = &facts.explained {
        console.line(Mark::Bold, "One refusal: what its caller is told, and what the command in it says");
        for line in std::iter::once(explained.told.as_str())
            .chain(std::iter::once(format!("$ {}", explained.command).as_str()))
            .chain(explained.answer.lines())
        {
            console.line(Mark::Plain, &format!("  {line}"));
        }
    }
    let t = &facts.totals;
    let (mark, verdict) =
        if facts.held() { (Mark::Held, "all of it held") } else { (Mark::Failed, "it did not hold") };
    console.line(
        mark,
        &format!(
            "{verdict}: {} orders, {} calls, {} failed, {} renewals, {} recovery, {} kills, {}.{} s",
            t.orders,
            t.calls,
            t.failed_calls,
            t.renewals,
            t.recoveries,
            facts.kills.len(),
            facts.lasted_ms / 1000,
            facts.lasted_ms % 1000 / 100
        ),
    );
    let shown = page.strip_prefix(&paths.root).unwrap_or(&page);
    console.line(Mark::Plain, &format!("Report: {}. Try next:", shown.display()));
    for command in &facts.next {
        console.line(Mark::Plain, &format!("  {command}"));
    }
    Ok(())
}

fn clean(paths: &Paths, console: &Console) -> std::io::Result<bool> {
    let (pids, swept) = PidFile::take(&paths.dir)?;
    for dir in [&paths.dir, &paths.certs] {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
    }
    drop(pids);
    console.line(
        Mark::Plain,
        &format!("target/demo and certs/dev are gone; {swept} left-over processes were ended"),
    );
    Ok(true)
}
