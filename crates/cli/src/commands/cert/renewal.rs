//! `avouch cert needs-renewal`: a question for scripts, answered by the exit status.
//!
//! 0: it is time; 1: not yet; 2: nobody knows, since the file cannot be read. A broken file never looks like a fresh one.

use super::document;
use crate::args::{Arguments, CertNeedsRenewal, Within};
use crate::commands::now;
use crate::error::{CliError, shown};
use crate::{input, output, timespan};
use avouch_spiffe::x509::Facts;
use serde_json::json;
use std::process::ExitCode;
use std::time::SystemTime;

pub(super) fn run(arguments: &Arguments, args: &CertNeedsRenewal) -> Result<ExitCode, CliError> {
    let found = document(&args.file, &input::file_or_stdin(&args.file)?)?;
    let facts: Result<Vec<Facts>, _> =
        found.certificates.iter().map(|der| Facts::parse_any_version(der)).collect();
    let facts = facts.map_err(|error| CliError::Unusable {
        path: args.file.clone(),
        problem: error.to_string(),
        help: format!("look at it with `avouch cert inspect {}`", shown(&args.file)),
    })?;
    // The first to end ends the chain.
    let first = facts.iter().min_by_key(|facts| facts.not_after);
    let first = first.ok_or_else(|| super::only_requests(&args.file))?;
    let due = facts.iter().any(|facts| is_due(facts, args.within, now()));
    if arguments.json {
        output::json(&json!({ "needs_renewal": due, "not_after": timespan::rfc3339(first.not_after) }))?;
    } else {
        let when = timespan::relative(first.not_after, now());
        output::hint(&format!("{}; it ends {when}", if due { "it is time to renew" } else { "not yet" }));
    }
    Ok(if due { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether no more is left than asked for.
fn is_due(facts: &Facts, within: Within, now: SystemTime) -> bool {
    let left = facts.not_after.duration_since(now).unwrap_or_default();
    let life = facts.not_after.duration_since(facts.not_before).unwrap_or_default();
    match within {
        Within::Time(time) => left <= time,
        Within::Percent(percent) => left <= life * percent / 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_left_decides_and_what_has_expired_is_due() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut params = rcgen::CertificateParams::default();
        params.not_before = start.into();
        params.not_after = (start + Duration::from_secs(1000)).into();
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let facts = Facts::parse(&der).unwrap();
        let due = |after: u64, within| is_due(&facts, within, start + Duration::from_secs(after));
        for (after, expected) in [(0, false), (799, false), (800, true), (1001, true), (9_999_999, true)] {
            assert_eq!(due(after, Within::Percent(20)), expected, "{after}");
            assert_eq!(due(after, Within::Time(Duration::from_secs(200))), expected, "{after}");
        }
        assert!(due(0, Within::Percent(100)) && !due(999, Within::Percent(0)));
    }
}
