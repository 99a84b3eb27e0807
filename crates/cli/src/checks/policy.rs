//! Checks of policies: whether one is in force, is the one in the file, and has the intended meaning.

use super::check::{Category, Check};
use super::finding::{Finding, Level, Subject};
use super::view::{Process, View, shown};
use crate::contract;
use avouch_api::observe::v1::GetPolicyResponse;
use avouch_authz::Policy;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-401",
        category: Category::Policy,
        title: "every workload has a policy in force",
        meaning: "The workload has no policy yet, or none that is good. Until it has one, it refuses every call with \
                  NOT_READY.",
        remedy: "AV-402 shows what is wrong with the file. If the file is missing, put it where the workload's \
                 configuration says. It is read by itself within seconds.",
        hint: "check the file: `avouch policy check FILE`",
        causes: &["AV-402"],
        judge: loaded,
    },
    Check {
        id: "AV-402",
        category: Category::Policy,
        title: "the policy files are good",
        meaning: "The file as it is now does not load, or it keeps changing. The last good policy stays in force, so \
                  what was changed in the file has no effect.",
        remedy: "Each problem is named with its line. Correct it in another file, see with `avouch policy check FILE` \
                 whether that is good, and rename it into place: a change is in force at once then, and 2 s after the \
                 last write otherwise. A policy whose [[test]] blocks do not hold is not loaded either.",
        hint: "correct the line, and check it: `avouch policy check FILE`",
        causes: &[],
        judge: file,
    },
    Check {
        id: "AV-403",
        category: Category::Policy,
        title: "the policies hold what their tests say",
        meaning: "The policy in force is read here once more, and its [[test]] blocks are run. A note: it has no tests. \
                  A warning: it cannot be read here, as a rule because this program and the workload are of different \
                  versions.",
        remedy: "Write down what must and what must never be allowed as [[test]] blocks, and run them with `avouch \
                 policy test FILE`. Use the `avouch` of the same release as the workload.",
        hint: "add [[test]] blocks, and run them with `avouch policy test FILE`",
        causes: &["AV-402"],
        judge: tests,
    },
    Check {
        id: "AV-404",
        category: Category::Policy,
        title: "every line of the policies has an effect",
        meaning: "Some lines bind or deny nobody and nothing that exists. They do no harm today; but they show a \
                  slip, or give a right to somebody who is registered under that name later.",
        remedy: "Remove the lines that are named, or correct them.",
        hint: "remove or correct the lines: `avouch policy check FILE`",
        causes: &[],
        judge: unused,
    },
    Check {
        id: "AV-405",
        category: Category::Policy,
        title: "no policy is in audit mode",
        meaning: "Where the policy is in audit mode, it decides and records, and lets through what it would refuse.",
        remedy: "Look at what would have been refused, `avouch tap --denied`; when nothing surprises any more, take \
                 mode = \"audit\" out of the policy.",
        hint: "look at what would be refused, `avouch tap --denied`, then take mode = \"audit\" out",
        causes: &[],
        judge: audit,
    },
    Check {
        id: "AV-406",
        category: Category::Policy,
        title: "replicas have the same policy",
        meaning: "Processes with the same SPIFFE ID decide by different versions of the policy: the same call is allowed \
                  by one and refused by the other.",
        remedy: "Bring the same file to all of them. AV-402 shows if one of them cannot load it.",
        hint: "bring the same policy file to all replicas",
        causes: &["AV-402"],
        judge: replicas,
    },
];

fn loaded(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        let version =
            process.status.policy.as_ref().map(|policy| policy.version.as_str()).unwrap_or_default();
        Some(match version {
            "" => (Level::Bad, "none is in force".to_owned()),
            version => (Level::Good, format!("version {}", shown(version))),
        })
    })
}

fn file(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let policy = process.status.policy.as_ref()?;
        Some(match policy.problem.as_str() {
            "" => (Level::Good, String::new()),
            problem => (Level::Bad, shown(&problem.lines().collect::<Vec<_>>().join("; "))),
        })
    })
}

fn tests(view: &View<'_>) -> Vec<Finding> {
    let members = view.fleet.members.iter().enumerate();
    members
        .filter_map(|(at, member)| {
            let (answer, status) = (member.policy.as_ref()?, member.status.as_ref()?);
            let (level, text) = match (read(answer)?, status.policy.as_ref()?.tests) {
                (Err(problem), _) => (Level::Warning, format!("it cannot be read here: {}", shown(&problem))),
                (Ok(()), 0) => (Level::Note, "it has no [[test]] block".to_owned()),
                (Ok(()), tests) => (Level::Good, format!("{tests} tests hold")),
            };
            Some(Finding { subject: Subject::Member(at), level, text })
        })
        .collect()
}

/// Whether what is in force there is a policy here as well.
fn read(answer: &GetPolicyResponse) -> Option<Result<(), String>> {
    let current = answer.current.as_ref()?;
    let methods = match contract::methods(&answer.methods) {
        Ok(methods) => methods,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(
        Policy::load_told(&current.source, &current.text, &methods)
            .map(drop)
            .map_err(|error| error.to_string()),
    )
}

fn unused(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let policy = process.status.policy.as_ref()?;
        Some(match policy.unused.as_slice() {
            [] => (Level::Good, String::new()),
            lines => (Level::Warning, lines.iter().map(|line| shown(line)).collect::<Vec<_>>().join("; ")),
        })
    })
}

fn audit(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        Some(match process.status.policy.as_ref()?.audit {
            false => (Level::Good, String::new()),
            true => (Level::Warning, "some of it lets through what it would refuse".to_owned()),
        })
    })
}

fn replicas(view: &View<'_>) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let version = |process: &Process<'_>| process.status.policy.as_ref().map(|policy| policy.version.clone());
    for process in view.workloads() {
        if let Some(policy) = &process.status.policy {
            versions.entry(&process.status.spiffe_id).or_default().insert(&policy.version);
        }
    }
    view.each_workload(|process| {
        let known = versions.get(process.status.spiffe_id.as_str())?;
        Some(match known.len() {
            0 | 1 => (Level::Good, String::new()),
            _ => (Level::Warning, format!("it has version {}", shown(&version(process)?))),
        })
    })
}
