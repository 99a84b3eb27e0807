//! The reason why a process did not answer, in one line that says what to do.

use crate::error::FleetError;
use avouch_spiffe::Reason;
use avouch_text::{shorten, with_causes};
use tonic::{Code, Status};

/// Why somebody did not answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The reason's word, where there is one.
    pub(crate) reason: String,
    /// The problem in a line for people.
    pub(crate) text: String,
}

/// Why a workload did not answer whoever asked as `operator`, in one line.
#[must_use]
pub fn explain(status: &Status, operator: &str) -> String {
    of_workload(status, operator).text
}

/// Why a workload did not answer whoever asked as `operator`.
pub(crate) fn of_workload(status: &Status, operator: &str) -> Problem {
    let reason = avouch_identity::reason(status);
    let help = match reason {
        Some(Reason::RoleMissing) => Some(format!(
            "let its policy.toml say, under [roles]: operator = [\"{operator}\"], or ask with --as or --identity as \
             somebody who holds that role"
        )),
        Some(Reason::NoAllowRule) => Some("it serves no records: it runs an older version".to_owned()),
        Some(Reason::PeerConnectionClosed) => {
            Some("see whether it runs, and whether this machine reaches it".to_owned())
        }
        _ if status.code() == Code::Unimplemented => {
            Some("it serves no records: it runs an older version".to_owned())
        }
        _ => None,
    };
    let help = help.map(|help| format!("; {help}")).unwrap_or_default();
    Problem {
        reason: reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        text: format!("{}{help}", of_status(status)),
    }
}

/// A status in one line, its reason first.
pub(crate) fn of_status(status: &Status) -> String {
    let message = &shorten(status.message());
    match avouch_identity::reason(status) {
        Some(reason) if !message.starts_with(reason.as_str()) => format!("{reason}: {message}"),
        Some(_) => message.to_owned(),
        None => format!("{:?}: {message}", status.code()),
    }
}

/// An error in one line: what, why, and what to do.
pub(crate) fn of_error(error: &FleetError) -> String {
    let mut text = with_causes(error).to_string();
    if let Some(help) = error.help() {
        text.push_str(&format!("; {help}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: &str = "spiffe://market.example/operator";

    #[test]
    fn a_missing_role_is_answered_with_the_line_of_the_policy() {
        let status = avouch_identity::status(Reason::RoleMissing, "the caller lacks the roles", []);
        let problem = of_workload(&status, OPERATOR);
        assert_eq!(problem.reason, "ROLE_MISSING");
        assert!(problem.text.starts_with("ROLE_MISSING: the caller lacks the roles; "), "{}", problem.text);
        assert!(
            problem.text.contains(r#"operator = ["spiffe://market.example/operator"]"#),
            "{}",
            problem.text
        );
    }

    #[test]
    fn a_reason_is_said_once_and_a_status_without_one_by_its_code() {
        let message = "CERT_EXPIRED: the server's certificate was refused [connection to a:1]";
        let problem = of_workload(&avouch_identity::status(Reason::CertExpired, message, []), OPERATOR);
        assert_eq!((problem.reason.as_str(), problem.text.as_str()), ("CERT_EXPIRED", message));
        let problem = of_workload(&Status::internal("broken"), OPERATOR);
        assert_eq!(problem, Problem { reason: String::new(), text: "Internal: broken".to_owned() });
    }

    #[test]
    fn an_error_says_its_causes_and_what_to_do() {
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let text = of_error(&FleetError::Unreachable { socket: "/run/a.sock".into(), source });
        assert_eq!(
            text,
            "no issuer answers on /run/a.sock: permission denied; run this as the user the issuer runs as, or as root"
        );
    }
}
