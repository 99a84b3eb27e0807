//! `avouch policy can-i`: one caller, one method, one answer.

use super::api::{self, ApiSource};
use super::file;
use crate::commands::{exit_code, warn_of_silences};
use crate::error::CliError;
use crate::output::{self, Output};
use avouch_authz::{Caller, Certificate, Denial, Permit, Policy, decide};
use avouch_fleet::{Fleet, Member};
use avouch_spiffe::SpiffeId;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The question whether a caller may call a method.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) caller: NamedCaller,
    pub(crate) method: String,
    /// The age of the caller's certificate, for policies that ask for it.
    pub(crate) certificate_age: Option<Duration>,
}

/// A caller as a command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedCaller {
    Peer(SpiffeId),
    Anonymous,
    LocalAdmin,
}

impl FromStr for NamedCaller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "anonymous" => Ok(Self::Anonymous),
            "local-admin" => Ok(Self::LocalAdmin),
            _ => {
                let id: SpiffeId = text.parse().map_err(|error| {
                    format!("{text:?} is no caller: write a SPIFFE ID, anonymous or local-admin ({error})")
                })?;
                if id.is_root() {
                    Err(format!("{text:?} is a trust domain and nobody in it"))
                } else {
                    Ok(Self::Peer(id))
                }
            }
        }
    }
}

impl fmt::Display for NamedCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(id) => write!(f, "{id}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::LocalAdmin => f.write_str("local-admin"),
        }
    }
}

/// Asks the policy in a file, or else the policies in force at everybody who serves the method.
pub(crate) async fn run(
    question: &Question,
    policy: Option<&Path>,
    api: &ApiSource,
    output: Output,
) -> Result<ExitCode, CliError> {
    let answers = match policy {
        Some(path) => {
            let methods = api::methods(api).await?;
            let Some(policy) = file::parse(path, &methods, output)? else { return Ok(ExitCode::FAILURE) };
            vec![Answer::of(String::new(), &policy, question)]
        }
        None => {
            let fleet = api.sources.collect().await?;
            warn_of_silences(&fleet)?;
            in_force(&fleet, question, api.service.as_deref())?
        }
    };
    let json = || answers.iter().map(Answer::json).collect::<Value>();
    output.show(json, || answers.iter().map(|answer| answer.text(question)).collect::<String>())?;
    Ok(exit_code(!answers.is_empty() && answers.iter().all(|answer| answer.decision.is_ok())))
}

/// The answers of everybody who serves the method.
fn in_force(fleet: &Fleet, question: &Question, service: Option<&str>) -> Result<Vec<Answer>, CliError> {
    let wanted = |member: &&Member| service.is_none_or(|service| api::is(member, service));
    let mut answers = Vec::new();
    for member in fleet.members.iter().filter(wanted) {
        let Some(policy) = &member.policy else { continue };
        let serves = policy.methods.iter().any(|method| method.path == question.method);
        let (true, Some(current)) = (serves, &policy.current) else { continue };
        let methods = crate::contract::methods(&policy.methods)
            .map_err(|error| CliError::Api(format!("{}: {error}", member.workload.spiffe_id)))?;
        let policy = Policy::load_told(&current.source, &current.text, &methods).map_err(|error| {
            let who = &member.workload.spiffe_id;
            CliError::Api(format!("the policy of {who} means nothing to this version of avouch: {error}"))
        })?;
        let at = format!("{} at {}", member.workload.spiffe_id, member.address);
        answers.push(Answer::of(at, &policy, question));
    }
    if answers.is_empty() {
        return Err(CliError::NobodyServes { method: question.method.clone() });
    }
    Ok(answers)
}

/// The answer of a policy.
#[derive(Debug)]
struct Answer {
    /// The workload whose policy it is; empty for a file's.
    at: String,
    source: String,
    version: String,
    decision: Result<Permit, Denial>,
}

impl Answer {
    fn of(at: String, policy: &Policy, question: &Question) -> Self {
        let not_before = SystemTime::UNIX_EPOCH;
        let certificate = Certificate {
            not_before: Some(not_before),
            now: question.certificate_age.and_then(|age| not_before.checked_add(age)),
            ..Certificate::default()
        };
        let caller = match &question.caller {
            NamedCaller::Peer(id) => Caller::Certified(id, certificate),
            NamedCaller::Anonymous => Caller::Anonymous,
            NamedCaller::LocalAdmin => Caller::LocalAdmin,
        };
        let decision = decide(policy, caller, &question.method);
        Self { at, source: policy.source().to_owned(), version: policy.version().to_owned(), decision }
    }

    /// The refusal, also one that audit mode keeps from refusing.
    fn denial(&self) -> Option<&Denial> {
        match &self.decision {
            Ok(permit) => permit.audited(),
            Err(denial) => Some(denial),
        }
    }

    fn verdict(&self) -> &'static str {
        match &self.decision {
            Ok(permit) if permit.audited().is_some() => "audited",
            Ok(_) => "allowed",
            Err(_) => "refused",
        }
    }

    fn json(&self) -> Value {
        let denial = self.denial();
        json!({
            "at": self.at,
            "policy": self.source,
            "policy_version": self.version,
            "verdict": self.verdict(),
            "role": self.decision.as_ref().ok().and_then(Permit::role),
            "reason": denial.map(|denial| denial.reason().as_str()),
            "need": denial.map(Denial::need),
            "have": denial.map(Denial::have),
            "rule": denial.map(Denial::rule_text),
            "place": denial.and_then(Denial::location).map(ToString::to_string),
            "detail": denial.map(Denial::detail),
            "help": denial.map(Denial::help),
        })
    }

    fn text(&self, question: &Question) -> String {
        let verdict = match &self.decision {
            Ok(permit) if permit.audited().is_some() => "yes, but only because of audit mode",
            Ok(_) => "yes",
            Err(_) => "no",
        };
        let mut rows = vec![
            ("caller", question.caller.to_string()),
            ("method", question.method.clone()),
            ("policy", format!("{} ({})", self.source, self.version)),
        ];
        if !self.at.is_empty() {
            rows.insert(2, ("at", self.at.clone()));
        }
        match (self.denial(), self.decision.as_ref().ok().and_then(Permit::role)) {
            (Some(denial), _) => {
                rows.push(("because", denial.to_string()));
                rows.push(("rule", denial.rule_text()));
                rows.extend(
                    Some(denial.detail()).filter(|text| !text.is_empty()).map(|text| ("detail", text)),
                );
                rows.push(("help", denial.help()));
            }
            (None, Some(role)) => rows.push(("by role", role.to_owned())),
            (None, None) => rows.push(("because", "the method asks for no role".to_owned())),
        }
        format!("{verdict}\n{}", output::fields(2, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_api::observe::v1::{GetPolicyResponse, Method, Policy as Said, Status, Workload};

    const POST: &str = "/shop.v1.Ledger/Post";

    /// A workload that serves the ledger under a policy.
    fn member(service: &str, text: &str) -> Member {
        let method = Method { path: POST.to_owned(), roles: vec!["writer".to_owned()], ..Method::default() };
        let current = Said { source: "p.toml".to_owned(), text: text.to_owned(), ..Said::default() };
        Member {
            workload: Workload {
                spiffe_id: format!("spiffe://shop.example/{service}"),
                ..Workload::default()
            },
            address: "10.0.0.1:7001".to_owned(),
            status: Some(Status { service: service.to_owned(), ..Status::default() }),
            policy: Some(GetPolicyResponse { current: Some(current), previous: None, methods: vec![method] }),
            ..Member::default()
        }
    }

    fn fleet(members: Vec<Member>) -> Fleet {
        Fleet { members, ..Fleet::default() }
    }

    fn question(caller: &str, method: &str) -> Question {
        Question { caller: caller.parse().unwrap(), method: method.to_owned(), certificate_age: None }
    }

    const GOOD: &str = "[roles]\nwriter = [\"spiffe://shop.example/till\"]\n";

    #[test]
    fn everybody_who_serves_the_method_answers_by_the_policy_in_force_there() {
        let silent = Member { problem: "nobody answers".to_owned(), ..Member::default() };
        let fleet = fleet(vec![member("ledger", GOOD), member("ledger-2", ""), silent]);
        let answers = in_force(&fleet, &question("spiffe://shop.example/till", POST), None).unwrap();
        let verdicts: Vec<_> = answers.iter().map(|answer| (answer.at.as_str(), answer.verdict())).collect();
        assert_eq!(
            verdicts,
            [
                ("spiffe://shop.example/ledger at 10.0.0.1:7001", "allowed"),
                ("spiffe://shop.example/ledger-2 at 10.0.0.1:7001", "refused"),
            ]
        );
        for service in ["ledger", "spiffe://shop.example/ledger"] {
            let one = in_force(&fleet, &question("spiffe://shop.example/till", POST), Some(service)).unwrap();
            assert_eq!(one.len(), 1);
        }
    }

    #[test]
    fn audit_mode_is_told_apart_from_being_allowed() {
        let fleet = fleet(vec![member("ledger", "mode = \"audit\"\n")]);
        let question = question("spiffe://shop.example/till", POST);
        let answers = in_force(&fleet, &question, None).unwrap();
        assert_eq!(answers[0].verdict(), "audited");
        assert!(answers[0].text(&question).starts_with("yes, but only because of audit mode\n"));
        assert_eq!(answers[0].json()["reason"], "ROLE_MISSING");
    }

    #[test]
    fn a_method_that_nobody_serves_and_a_policy_that_means_nothing_are_no_answer() {
        let fleet = fleet(vec![member("ledger", GOOD), member("broken", "[rolls]\n")]);
        let ask = |method, service| in_force(&fleet, &question("anonymous", method), Some(service));
        assert!(matches!(ask("/shop.v1.Ledger/Burn", "ledger"), Err(CliError::NobodyServes { .. })));
        assert!(matches!(ask(POST, "nobody"), Err(CliError::NobodyServes { .. })));
        let error = ask(POST, "broken").unwrap_err();
        assert!(error.to_string().contains("spiffe://shop.example/broken"), "{error}");
    }
}
