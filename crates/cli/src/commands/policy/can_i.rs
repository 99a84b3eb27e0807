//! `avouch policy can-i`: one caller, one method, one answer.

use super::api;
use crate::args::{Arguments, PolicyCanI, Who};
use crate::error::CliError;
use crate::fleet::{self, Fleet, Member};
use crate::output;
use avouch_authz::{Caller, Certificate, Denial, Permit, Policy, decide};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::SystemTime;

pub(super) async fn run(arguments: &Arguments, args: &PolicyCanI) -> Result<ExitCode, CliError> {
    let answers = match &args.policy {
        Some(path) => {
            let methods = api::methods(arguments, &args.api).await?;
            let Some(policy) = super::parse(arguments, path, &methods)? else { return Ok(ExitCode::FAILURE) };
            vec![Answer::of(String::new(), &policy, args)]
        }
        None => {
            let fleet = fleet::gather(arguments, &args.api.sources).await?;
            crate::commands::say_silences(&fleet)?;
            in_force(&fleet, args)?
        }
    };
    if arguments.json {
        output::json(&answers.iter().map(Answer::json).collect())?;
    } else {
        for answer in &answers {
            output::text(&answer.text(args))?;
        }
    }
    let yes = !answers.is_empty() && answers.iter().all(|answer| answer.decision.is_ok());
    Ok(if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What everybody who serves the method answers.
fn in_force(fleet: &Fleet, args: &PolicyCanI) -> Result<Vec<Answer>, CliError> {
    let wanted = |member: &&Member| args.api.service.as_ref().is_none_or(|service| api::is(member, service));
    let mut answers = Vec::new();
    for member in fleet.members.iter().filter(wanted) {
        let Some(policy) = &member.policy else { continue };
        let serves = policy.methods.iter().any(|method| method.path == args.method);
        let (true, Some(current)) = (serves, &policy.current) else { continue };
        let methods = crate::contract::methods(&policy.methods)
            .map_err(|error| CliError::Api(format!("{}: {error}", member.workload.spiffe_id)))?;
        let policy = Policy::parse_told(&current.source, &current.text, &methods).map_err(|error| {
            let who = &member.workload.spiffe_id;
            CliError::Api(format!("the policy of {who} means nothing to this version of avouch: {error}"))
        })?;
        let at = format!("{} at {}", member.workload.spiffe_id, member.address);
        answers.push(Answer::of(at, &policy, args));
    }
    if answers.is_empty() {
        return Err(CliError::NobodyServes { method: args.method.clone() });
    }
    Ok(answers)
}

/// One policy's answer.
#[derive(Debug)]
struct Answer {
    /// Whose policy; empty if it is a file's.
    at: String,
    source: String,
    version: String,
    decision: Result<Permit, Denial>,
}

impl Answer {
    fn of(at: String, policy: &Policy, args: &PolicyCanI) -> Self {
        let not_before = SystemTime::UNIX_EPOCH;
        let certificate = Certificate {
            not_before: Some(not_before),
            now: args.certificate_age.and_then(|age| not_before.checked_add(age)),
            ..Certificate::default()
        };
        let caller = match &args.caller {
            Who::Peer(id) => Caller::Certified(id, certificate),
            Who::Anonymous => Caller::Anonymous,
            Who::LocalAdmin => Caller::LocalAdmin,
        };
        let decision = decide(policy, caller, &args.method);
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
            "place": denial.and_then(Denial::place).map(ToString::to_string),
            "detail": denial.map(Denial::detail),
            "help": denial.map(Denial::help),
        })
    }

    fn text(&self, args: &PolicyCanI) -> String {
        let verdict = match &self.decision {
            Ok(permit) if permit.audited().is_some() => "yes, but only because of audit mode",
            Ok(_) => "yes",
            Err(_) => "no",
        };
        let mut rows = vec![
            ("caller", args.caller.to_string()),
            ("method", args.method.clone()),
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

    fn question(caller: &str, method: &str, service: Option<&str>) -> PolicyCanI {
        let api = crate::args::Api { service: service.map(str::to_owned), ..Default::default() };
        let caller = caller.parse().unwrap();
        PolicyCanI { caller, method: method.to_owned(), certificate_age: None, policy: None, api }
    }

    const GOOD: &str = "[roles]\nwriter = [\"spiffe://shop.example/till\"]\n";

    #[test]
    fn everybody_who_serves_the_method_answers_by_the_policy_in_force_there() {
        let silent = Member { problem: "nobody answers".to_owned(), ..Member::default() };
        let fleet = fleet(vec![member("ledger", GOOD), member("ledger-2", ""), silent]);
        let answers = in_force(&fleet, &question("spiffe://shop.example/till", POST, None)).unwrap();
        let verdicts: Vec<_> = answers.iter().map(|answer| (answer.at.as_str(), answer.verdict())).collect();
        assert_eq!(
            verdicts,
            [
                ("spiffe://shop.example/ledger at 10.0.0.1:7001", "allowed"),
                ("spiffe://shop.example/ledger-2 at 10.0.0.1:7001", "refused"),
            ]
        );
        for service in ["ledger", "spiffe://shop.example/ledger"] {
            let one = in_force(&fleet, &question("spiffe://shop.example/till", POST, Some(service))).unwrap();
            assert_eq!(one.len(), 1);
        }
    }

    #[test]
    fn audit_mode_is_told_apart_from_being_allowed() {
        let fleet = fleet(vec![member("ledger", "mode = \"audit\"\n")]);
        let question = question("spiffe://shop.example/till", POST, None);
        let answers = in_force(&fleet, &question).unwrap();
        assert_eq!(answers[0].verdict(), "audited");
        assert!(answers[0].text(&question).starts_with("yes, but only because of audit mode\n"));
        assert_eq!(answers[0].json()["reason"], "ROLE_MISSING");
    }

    #[test]
    fn a_method_that_nobody_serves_and_a_policy_that_means_nothing_are_no_answer() {
        let fleet = fleet(vec![member("ledger", GOOD), member("broken", "[rolls]\n")]);
        let ask = |method, service| in_force(&fleet, &question("anonymous", method, Some(service)));
        assert!(matches!(ask("/shop.v1.Ledger/Burn", "ledger"), Err(CliError::NobodyServes { .. })));
        assert!(matches!(ask(POST, "nobody"), Err(CliError::NobodyServes { .. })));
        let error = ask(POST, "broken").unwrap_err();
        assert!(error.to_string().contains("spiffe://shop.example/broken"), "{error}");
    }
}
