//! `avouch policy`: what a policy file says before it is in force, and what the policies in force allow.
//!
//! Every answer is given by the functions that services decide with. A file is judged under an API: from protos, from
//! descriptors, or as a running service tells it; avouch's own methods, which every service has, join always.

mod api;
mod can_i;
mod diff;
mod matrix;
mod report;

use crate::args::{Api, Arguments, PolicyCommand, PolicyFile};
use crate::error::CliError;
use crate::output;
use avouch_authz::{Methods, Policy, PolicyError};
use avouch_files::pem::Form;
use avouch_text::clean;
use report::Problem;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, command: &PolicyCommand) -> Result<ExitCode, CliError> {
    match command {
        PolicyCommand::Check(file) => check(arguments, file).await,
        PolicyCommand::Test(file) => test(arguments, file).await,
        PolicyCommand::Matrix(file) => matrix::run(arguments, file).await,
        PolicyCommand::Diff(diff) => diff::run(arguments, diff).await,
        PolicyCommand::CanI(can_i) => can_i::run(arguments, can_i).await,
    }
}

async fn check(arguments: &Arguments, file: &PolicyFile) -> Result<ExitCode, CliError> {
    let Some(policy) = read(arguments, &file.api, &file.file).await? else { return Ok(ExitCode::FAILURE) };
    let unused: Vec<String> = policy.unused().iter().map(ToString::to_string).collect();
    if arguments.json {
        output::json(&json!({
            "file": policy.source(),
            "version": policy.version(),
            "good": true,
            "tests": policy.tests(),
            "audit": policy.audits(),
            "unused": unused,
            "problems": [],
        }))?;
    } else {
        unused.iter().for_each(|line| output::warn(&format!("without effect: {line}")));
        if policy.audits() {
            output::warn("some of it is in audit mode: it records there, and does not refuse");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(arguments: &Arguments, file: &PolicyFile) -> Result<ExitCode, CliError> {
    // A policy is there only if all of its tests hold.
    let Some(policy) = read(arguments, &file.api, &file.file).await? else { return Ok(ExitCode::FAILURE) };
    if arguments.json {
        output::json(
            &json!({ "file": policy.source(), "good": true, "tests": policy.tests(), "problems": [] }),
        )?;
    } else {
        output::text(&match policy.tests() {
            0 => format!("{} has no [[test]]\n", clean(policy.source())),
            1 => "1 test holds\n".to_owned(),
            tests => format!("{tests} tests hold\n"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy in a file under an API; none if it is not good, which has been said then.
async fn read(arguments: &Arguments, api: &Api, path: &Path) -> Result<Option<Policy>, CliError> {
    let methods = api::methods(arguments, api).await?;
    parse(arguments, path, &methods)
}

fn parse(arguments: &Arguments, path: &Path, methods: &Methods) -> Result<Option<Policy>, CliError> {
    let source = path.display().to_string();
    let (text, parsed) = match text_of(path, &source) {
        Ok(text) => {
            // A problem is shown with the lines around it.
            if let Some(problem) = no_policy(&text) {
                return Err(CliError::Unusable {
                    path: path.to_owned(),
                    problem,
                    help: "name the policy file; this one is not shown".to_owned(),
                });
            }
            let parsed = Policy::parse(&source, &text, methods);
            (text, parsed)
        }
        Err(error) => (String::new(), Err(error)),
    };
    match parsed {
        Ok(policy) => Ok(Some(policy)),
        // It could not be read, in the words that a service says it in.
        Err(error) if error.problems().is_empty() => Err(error.into()),
        Err(error) if arguments.json => {
            let problems: Vec<Value> = error.problems().iter().map(report::json).collect();
            output::json(&json!({ "file": source, "good": false, "problems": problems }))?;
            Ok(None)
        }
        Err(error) => {
            say(&error, &source, &text);
            Ok(None)
        }
    }
}

/// What a file is that must not be quoted, since it is no policy but a secret.
fn no_policy(text: &str) -> Option<String> {
    if text.contains("PRIVATE KEY") {
        return Some("it holds a private key and no policy".to_owned());
    }
    if text.contains("avjt1.") {
        return Some("it holds a join token and no policy".to_owned());
    }
    match Form::of(text.as_bytes()) {
        Form::Text | Form::Empty | Form::Json => None,
        form => Some(format!("{}, and no policy", form.name())),
    }
}

/// A file's text, as services read it. What a shell hands over, `<(…)` or its standard input, is read as it comes.
fn text_of(path: &Path, source: &str) -> Result<String, PolicyError> {
    let handed = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|of_shell| path.starts_with(of_shell));
    if !handed {
        return avouch_authz::read_policy(path);
    }
    let unreadable = |cause| PolicyError::Unreadable { path: path.to_owned(), cause };
    avouch_authz::read_policy_from(source, File::open(path).map_err(unreadable)?)
}

fn say(error: &PolicyError, source: &str, text: &str) {
    for problem in error.problems() {
        report::print(&Problem::new(problem, source, text));
    }
}
