//! A decision about a call: which clause of which rule, since when, and what would change it.

use super::chain::Chain;
use super::evaluate::{Asker, Policies, Rules};
use super::find::{self, Held, Holder};
use super::issuance;
use super::page::{Explanation, Page, moment};
use super::remedy::{self, Remedy};
use super::revoked::Revoked;
use avouch_api::observe::v1::Decision;
use avouch_fleet::Fleet;
use avouch_spiffe::Reason;
use serde::Serialize;

#[derive(Serialize)]
struct Story<'a> {
    kind: &'static str,
    #[serde(flatten)]
    record: &'a Decision,
    callee: &'a str,
    asked: String,
    summary: &'static str,
    /// The callers that hold the roles that are needed.
    holders: Vec<Holders>,
    /// The one clause that failed.
    failed: String,
    policy: Vec<String>,
    /// The revocation that it was refused for.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Revoked>,
    chain: Option<Chain>,
    connection: Option<&'a avouch_api::observe::v1::Connection>,
    remedy: Remedy,
}

#[derive(Serialize)]
struct Holders {
    role: String,
    callers: Vec<String>,
}

pub(super) fn explain(fleet: &Fleet, held: &Held<'_, Decision>) -> Explanation {
    let story = Story::of(fleet, held);
    Explanation { text: story.to_text(fleet), json: serde_json::to_value(&story).unwrap_or_default() }
}

impl<'a> Story<'a> {
    fn of(fleet: &'a Fleet, held: &Held<'a, Decision>) -> Self {
        let record = held.record;
        let reason: Option<Reason> = record.reason.parse().ok();
        let read = match held.holder {
            Holder::Member(member) => member.policy.as_ref().and_then(Policies::read),
            Holder::Issuer => None,
        };
        let connection = find::under(fleet, held);
        let asker = Asker::of_record(record, connection);
        let policies = read.as_ref().and_then(|read| read.as_ref().ok());
        let known = policies.zip(asker.as_ref());
        let mut remedy = match known {
            Some((policies, asker)) => remedy::call(fleet, policies, asker, record),
            None => Remedy::default(),
        };
        let mut policy = vec![decided_by(record, policies)];
        policy.extend(known.map(|(policies, asker)| history(policies, asker, record)));
        if let Some(Err(problem)) = &read {
            policy.push(format!("the policy there cannot be read here: {problem}"));
        }
        let file = held.holder.status(fleet).and_then(|status| status.policy.as_ref());
        let problem =
            file.map(|file| file.problem.lines().collect::<Vec<_>>().join("; ")).unwrap_or_default();
        if !problem.is_empty() {
            policy.push(format!("the file as it is now is not in force, it does not load: {problem}"));
            remedy.first("correct the policy file first: what was changed in it has no effect yet");
        }
        let serial = connection.map(|connection| connection.peer_serial.as_str()).unwrap_or_default();
        let id = issuance::subject(record).map(|id| id.to_string()).unwrap_or_default();
        let revoked = Revoked::of(fleet, reason, &id, serial, &record.time);
        if let Some(revoked) = &revoked {
            remedy.advice.push(revoked.fix.clone());
        }
        Self {
            kind: "decision",
            record,
            callee: held.holder.id(fleet),
            asked: held.holder.name(),
            summary: reason.map(Reason::summary).unwrap_or_default(),
            holders: policies.map(|policies| holders(&policies.current, record)).unwrap_or_default(),
            failed: failed(record, known),
            policy: policy.into_iter().filter(|line| !line.is_empty()).collect(),
            chain: Chain::of(fleet, &record.trace_id, &record.id),
            connection,
            remedy: remedy.or(|| issuance::remedy(fleet, record)),
            revoked,
        }
    }

    fn to_text(&self, fleet: &Fleet) -> String {
        let record = self.record;
        let head = match record.verdict.as_str() {
            "refused" => "DENIED",
            "audited" => "LET THROUGH IN AUDIT MODE",
            "allowed" => "ALLOWED",
            other => other,
        };
        let mut page = Page::new(&format!("{head} {} → {} {}", record.peer, self.callee, record.method));
        let when = moment(fleet, &record.time);
        page.fact("decision", &format!("{}, {when}, by {}", record.id, self.asked));
        self.write_reason(&mut page);
        if let Some(revoked) = &self.revoked {
            revoked.write(&mut page);
        }
        for line in &self.policy {
            page.fact("policy", line);
        }
        if let Some(connection) = self.connection {
            let from = &connection.peer_address;
            page.fact("connection", &format!("{} from {from}", connection.id));
        } else if !record.connection_id.is_empty() {
            page.fact("connection", &format!("{} (not on record any more)", record.connection_id));
        }
        if let Some(chain) = &self.chain {
            chain.write(&mut page);
        }
        if record.suppressed > 0 {
            let line = format!("{} like it before it were only counted", record.suppressed);
            page.fact("suppressed", &line);
        }
        self.remedy.write(&mut page);
        page.finish()
    }

    fn write_reason(&self, page: &mut Page) {
        let record = self.record;
        if !record.reason.is_empty() {
            page.fact("because", &format!("{}: {}", record.reason, self.summary));
        }
        if !record.need.is_empty() {
            let (need, have) = (record.need.join(", "), record.have.join(", "));
            page.fact("because", &format!("needs one of [{need}], has [{have}]"));
        }
        if !record.rule.is_empty() {
            page.fact("RPC's rule", &record.rule);
        }
        for Holders { role, callers } in &self.holders {
            let callers = if callers.is_empty() { "nobody".to_owned() } else { callers.join(", ") };
            page.fact("nearest rule", &format!("{role} is held by {callers}"));
        }
        if !record.place.is_empty() {
            page.fact("nearest rule", &format!("at {}", record.place));
        }
        if !self.failed.is_empty() {
            page.fact("failed", &self.failed);
        }
    }
}

fn holders(rules: &Rules<'_>, record: &Decision) -> Vec<Holders> {
    let of = |role: &String| Holders { role: role.clone(), callers: rules.holders(role) };
    record.need.iter().map(of).collect()
}

/// The one clause: what the record says of it, else what the policy that decided says, and what the reason means for this
/// caller.
fn failed(record: &Decision, known: Option<(&Policies<'_>, &Asker)>) -> String {
    let again = known.and_then(|(policies, asker)| {
        let mut all = std::iter::once(&policies.current).chain(&policies.previous);
        let rules = all.find(|rules| rules.said.version == record.policy_version)?;
        rules.decide(asker, &record.method).err().filter(|denial| denial.reason().as_str() == record.reason)
    });
    let detail = match (&again, record.detail.as_str()) {
        (Some(again), "") => again.detail(),
        (_, detail) => detail.to_owned(),
    };
    let missing = again.as_ref().is_some_and(|denial| denial.failed_condition().is_none());
    match (clause(record, known), detail) {
        (clause, detail) if detail.is_empty() => clause,
        (clause, detail) if missing && record.reason == Reason::RoleMissing.as_str() => {
            format!("{clause}; {detail}")
        }
        (_, detail) => detail,
    }
}

fn clause(record: &Decision, known: Option<(&Policies<'_>, &Asker)>) -> String {
    match record.reason.parse() {
        Ok(Reason::RoleMissing) => format!("no line that binds one of these roles names {}", record.peer),
        Ok(Reason::DenyRuleMatched) => format!("the deny rule at {} names {}", record.place, record.peer),
        Ok(Reason::NoAllowRule) if record.rule == "local_admin" => {
            "only the local administrator may call it, over the administration socket".to_owned()
        }
        Ok(Reason::NoAllowRule) => match known.and_then(|(policies, _)| nearest(policies, &record.method)) {
            Some(path) => format!("the server knows no such RPC; the nearest it knows is {path}"),
            None => "the server knows no such RPC".to_owned(),
        },
        Ok(Reason::NoPeerIdentity) => "the caller showed no certificate".to_owned(),
        _ => String::new(),
    }
}

/// The RPC that was probably meant: of a similar path, else of the same name.
fn nearest(policies: &Policies<'_>, path: &str) -> Option<&'static str> {
    let (_, name) = path.rsplit_once('/')?;
    let methods = || policies.current.policy.methods().iter().map(|method| method.path);
    let of_name = || methods().find(|known| known.rsplit_once('/').is_some_and(|(_, known)| known == name));
    avouch_text::suggest(path, methods()).or_else(of_name)
}

fn decided_by(record: &Decision, policies: Option<&Policies<'_>>) -> String {
    let version = &record.policy_version;
    let since = |rules: &Rules<'_>| {
        format!("{} of {}, since {}", rules.said.version, rules.said.source, rules.said.since)
    };
    match policies {
        _ if version.is_empty() => String::new(),
        Some(policies) if policies.current.said.version == *version => {
            format!("{}: still in force", since(&policies.current))
        }
        Some(policies) => {
            format!("decided by {version}; in force now is {}", since(&policies.current))
        }
        None => format!("decided by {version}"),
    }
}

/// Since which version it is so, by trying what is there.
fn history(policies: &Policies<'_>, asker: &Asker, record: &Decision) -> String {
    let now = policies.current.decide(asker, &record.method).is_ok();
    let before = policies
        .previous
        .as_ref()
        .map(|previous| (previous.said.version.as_str(), previous.decide(asker, &record.method).is_ok()));
    let current = policies.current.said;
    match (now, before) {
        (false, Some((version, true))) => format!(
            "the one before, {version}, would have allowed it: refused since {} ({})",
            current.version, current.since
        ),
        (false, Some((version, false))) => format!("the one before, {version}, would have refused it too"),
        (true, Some((version, false))) => {
            format!("allowed now: {} changed it ({}); {version} refused it", current.version, current.since)
        }
        (true, Some((_, true))) => "both that are known allow it".to_owned(),
        (false, None) => "there was no other policy since the process started".to_owned(),
        (true, None) => "the policy in force now allows it".to_owned(),
    }
}
