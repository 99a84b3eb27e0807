//! `avouch cert needs-renewal`: a question for scripts, answered by the exit status.
//!
//! 0: it is time; 1: not yet; 2: nobody knows, since the file cannot be read. A broken file never looks like a fresh one.

use super::file;
use crate::commands::{exit_code, now};
use crate::error::CliError;
use crate::input;
use crate::output::{Output, Text};
use avouch_spiffe::x509::CertificateInfo;
use avouch_text::shorten_path;
use avouch_time::{relative, rfc3339};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The remaining lifetime of a certificate at which it is due for renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// A part of its whole life.
    Percent(u32),
    /// A time before its end.
    Time(Duration),
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%') {
            None => avouch_time::duration::parse(text).map(Self::Time).map_err(|error| error.to_string()),
            Some(number) => match number.parse() {
                Ok(percent) if percent <= 100 && !number.starts_with('+') => Ok(Self::Percent(percent)),
                _ => Err(format!(
                    "invalid percentage {text:?}; write for example 20%, or a duration such as 8h"
                )),
            },
        }
    }
}

pub(crate) fn run(path: &Path, within: Within, output: Output) -> Result<ExitCode, CliError> {
    let found = file::document(path, &input::file_or_stdin(path)?)?;
    let info: Result<Vec<CertificateInfo>, _> =
        found.certificates.iter().map(|der| CertificateInfo::parse_any_version(der)).collect();
    let info = info.map_err(|error| CliError::Unusable {
        path: path.to_owned(),
        problem: error.to_string(),
        help: format!("look at it with `avouch cert inspect {}`", shorten_path(path)),
    })?;
    // A chain expires with the first of its certificates.
    let first = info.iter().min_by_key(|info| info.not_after);
    let end = first.ok_or_else(|| file::only_requests(path))?.not_after;
    let due = info.iter().any(|info| is_due(info, within, now()));
    output.show(
        || json!({ "needs_renewal": due, "not_after": rfc3339(end) }),
        || {
            let answer = if due { "it is time to renew" } else { "not yet" };
            Text::Hint(format!("{answer}; it ends {}", relative(end, now())))
        },
    )?;
    Ok(exit_code(due))
}

/// Whether no more is left than asked for.
fn is_due(info: &CertificateInfo, within: Within, now: SystemTime) -> bool {
    let left = info.not_after.duration_since(now).unwrap_or_default();
    let life = info.not_after.duration_since(info.not_before).unwrap_or_default();
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
        let info = CertificateInfo::parse(&der).unwrap();
        let due = |after: u64, within| is_due(&info, within, start + Duration::from_secs(after));
        for (after, expected) in [(0, false), (799, false), (800, true), (1001, true), (9_999_999, true)] {
            assert_eq!(due(after, Within::Percent(20)), expected, "{after}");
            assert_eq!(due(after, Within::Time(Duration::from_secs(200))), expected, "{after}");
        }
        assert!(due(0, Within::Percent(100)) && !due(999, Within::Percent(0)));
    }

    #[test]
    fn what_may_be_left_is_a_part_or_a_time() {
        assert_eq!("20%".parse(), Ok(Within::Percent(20)));
        assert_eq!("8h".parse(), Ok(Within::Time(Duration::from_secs(28_800))));
        for text in ["", "%", "101%", "-1%", "+1%", "1.5%", "20", "20 %", "h"] {
            assert!(text.parse::<Within>().is_err(), "{text:?}");
        }
    }
}
