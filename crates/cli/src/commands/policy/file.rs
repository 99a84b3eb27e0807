//! Reads a policy file under an API, and says what is wrong with it.

use super::api::{self, ApiSource};
use super::report::{self, Problem};
use crate::error::CliError;
use crate::output::{Output, Text};
use avouch_authz::{Methods, Policy, PolicyError};
use avouch_files::pem::Form;
use miette::Diagnostic;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// The policy in a file under an API; none if it is not good, which has been said then.
pub(super) async fn read(path: &Path, api: &ApiSource, output: Output) -> Result<Option<Policy>, CliError> {
    let methods = api::methods(api).await?;
    parse(path, &methods, output)
}

/// The policy in a file under the rules of `methods`; none if it is not good, which has been said then.
pub(super) fn parse(path: &Path, methods: &Methods, output: Output) -> Result<Option<Policy>, CliError> {
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
            let parsed = Policy::load(&source, &text, methods);
            (text, parsed)
        }
        Err(error) => (String::new(), Err(error)),
    };
    let error = match parsed {
        Ok(policy) => return Ok(Some(policy)),
        // It could not be read, in the words that a service says it in.
        Err(error) if error.problems().is_empty() => return Err(error.into()),
        Err(error) => error,
    };
    let problems = error.problems();
    let json = || {
        let problems: Vec<Value> = problems.iter().map(report::json).collect();
        json!({ "file": source, "good": false, "problems": problems })
    };
    let reports = || {
        let reports = problems.iter().map(|problem| Problem::new(problem, &source, &text));
        Text::Reports(reports.map(|problem| Box::new(problem) as Box<dyn Diagnostic>).collect())
    };
    output.show(json, reports)?;
    Ok(None)
}

/// The problem with a file that must not be quoted, since it is no policy but a secret.
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
