//! Checks of each process's SVID: whether it is valid, its key is present, and it is being renewed.

use super::check::{Category, Check};
use super::finding::{Finding, Level};
use super::view::{Process, View, life, shown};
use crate::upstream::{self, Reached};
use avouch_api::observe::v1::{Svid, Upstream};
use avouch_spiffe::SpiffeId;
use std::collections::BTreeSet;

/// Renewal begins at half of an SVID's life, which is less than half of the span between its dates, since SVIDs are
/// backdated. So there is no threshold for a note before the one for a warning.
const NOTED: u128 = 0;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "AV-201",
        category: Category::Identity,
        title: "every SVID is good and has life left",
        meaning: "An SVID is renewed at about half of its life. Below 25 % it is a warning, below 10 % it counts \
                  as bad. When it has ended, peers refuse the workload with CERT_EXPIRED, and \
                  its readiness says so.",
        remedy: "Its renewal fails: AV-202 has the error. Without one, the process may not get to run, or its clock \
                 may be wrong (AV-601).",
        hint: "see why it is not renewed: the process's log, and `avouch cert list --id SPIFFE_ID`",
        causes: &["AV-202", "AV-601", "AV-101"],
        judge: life_left,
    },
    Check {
        id: "AV-202",
        category: Category::Identity,
        title: "the last renewal succeeded",
        meaning: "The last attempt to get another SVID failed. The workload goes on trying with a growing delay, and \
                  keeps the one it has until that ends.",
        remedy: "The error says it. NO_MATCHING_ENTRY: the entry is gone or was made anew; `avouch entry show \
                 SPIFFE_ID`, and let it join again with `avouch token create SPIFFE_ID`. RECOVERY_WINDOW_OVER and \
                 JOIN_TOKEN_…: a new join token. STORE_UNAVAILABLE: the issuer's disk. Not reachable: the issuer \
                 itself, or the network between.",
        hint: "read the error; `avouch explain REASON` says what to do about it",
        causes: &["AV-208", "AV-101", "AV-102", "AV-103", "AV-701", "AV-601", "AV-303"],
        judge: renewal,
    },
    Check {
        id: "AV-203",
        category: Category::Identity,
        title: "every key belongs to its certificate",
        meaning: "The process holds a private key that is not that of its certificate. It can prove nothing with it: \
                  every handshake fails with CERT_SIGNATURE_INVALID.",
        remedy: "With certificate files, put the key and the certificate that belong together into place, and replace \
                 both in one step. With the issuer it does not happen; restart the process and file a report.",
        hint: "replace certificate and key together; `avouch cert inspect FILE` shows the certificate's key",
        causes: &[],
        judge: key,
    },
    Check {
        id: "AV-204",
        category: Category::Identity,
        title: "every process serves",
        meaning: "A workload answers and says that it is starting or stopping; it is not ready for calls.",
        remedy: "Wait some seconds, as with `avouch check --wait 30s`. If it stays so, its log and its /readyz say \
                 what it waits for.",
        hint: "wait for it with `avouch check --wait 30s`, then read its log",
        causes: &["AV-205", "AV-201", "AV-401", "AV-101"],
        judge: serving,
    },
    Check {
        id: "AV-205",
        category: Category::Identity,
        title: "every process has an SVID",
        meaning: "The process runs and has no SVID: it has not enrolled yet.",
        remedy: "Give it a join token: `avouch token create SPIFFE_ID --register`. If it has one, the error of AV-202 \
                 says why it was refused.",
        hint: "let it join: `avouch token create SPIFFE_ID --register`",
        causes: &["AV-202", "AV-101"],
        judge: has_svid,
    },
    Check {
        id: "AV-206",
        category: Category::Identity,
        title: "everybody who is called is known",
        meaning: "A process is configured to call a SPIFFE ID of this trust domain that is not registered (bad), or \
                  that no workload has now (a warning). The callee is down or never joined, or the ID in the caller's \
                  configuration is wrong; then every call fails with SERVER_IDENTITY_MISMATCH.",
        remedy: "Compare the ID in the caller's configuration with `avouch entry list`. If it is right, start the \
                 callee.",
        hint: "compare the ID with `avouch entry list`, and start the callee",
        causes: &["AV-101"],
        judge: upstreams,
    },
    Check {
        id: "AV-207",
        category: Category::Identity,
        title: "callers reach whom they mean",
        meaning: "A process is configured to call a SPIFFE ID at an address where another one listens (bad: every \
                  call fails with SERVER_IDENTITY_MISMATCH), or at a port where the one it means does not listen (a \
                  warning). Only addresses are compared; names and balancers are left alone.",
        remedy: "Correct the address or the SPIFFE ID in the caller's configuration, [upstreams.NAME].",
        hint: "correct the address or the SPIFFE ID in the caller's [upstreams.NAME]",
        causes: &[],
        judge: reached,
    },
    Check {
        id: "AV-208",
        category: Category::Identity,
        title: "what the identity's files hold is in use",
        meaning: "A process whose identity comes from files has found one that it does not take: its own bundle does not \
                  vouch for the certificate, a file is half written, missing or open to others, a key is none. It goes on \
                  with the last good content, which a restart does not have: without a good certificate, key and bundle \
                  it would not start. A partner's bundle that has never been good means that nobody of that trust domain \
                  is admitted.",
        remedy: "The line says which file, since when, and what is wrong; often with the command that mends it. Put a \
                 certificate, its key and a bundle that vouches for it into place; the order does not matter. It is taken \
                 within seconds.",
        hint: "mend the file that is named; `avouch cert inspect CERTIFICATE --bundle BUNDLE` judges it the same way",
        causes: &["AV-601"],
        judge: files,
    },
];

/// The SVID in use; a process that has none yet may send one that says nothing.
fn svid<'a>(process: &Process<'a>) -> Option<&'a Svid> {
    process.status.svid.as_ref().filter(|svid| !svid.not_after.is_empty())
}

fn life_left(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let svid = svid(process)?;
        let dates = life(&svid.not_before, &svid.not_after, process.now(), NOTED);
        Some(dates.unwrap_or((Level::Bad, "the SVID's dates cannot be read".to_owned())))
    })
}

fn renewal(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let renewal = process.status.last_renewal.as_ref()?;
        Some(match renewal.error.as_str() {
            "" => (Level::Good, String::new()),
            error => {
                (Level::Bad, format!("{} at {}: {}", shown(&renewal.how), shown(&renewal.at), shown(error)))
            }
        })
    })
}

fn files(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        let found = process.status.identity_problems.iter().map(|problem| {
            let (part, since) = (shown(&problem.part), shown(&problem.since));
            format!("{part} {}, since {since}: {}", shown(&problem.path), shown(&problem.detail))
        });
        let found: Vec<_> = found.collect();
        Some(match found.is_empty() {
            true => (Level::Good, String::new()),
            false => (Level::Bad, found.join("; ")),
        })
    })
}

fn key(view: &View<'_>) -> Vec<Finding> {
    view.each(|process| {
        Some(match svid(process)?.key_matches {
            true => (Level::Good, String::new()),
            false => (Level::Bad, "the private key is not that of the certificate".to_owned()),
        })
    })
}

fn serving(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        Some(match process.status.phase.as_str() {
            "serving" => (Level::Good, String::new()),
            "" => (Level::Warning, "it does not say whether it serves".to_owned()),
            phase => (Level::Warning, format!("it is {}", shown(phase))),
        })
    })
}

fn has_svid(view: &View<'_>) -> Vec<Finding> {
    view.each_workload(|process| {
        Some(match svid(process) {
            Some(_) => (Level::Good, String::new()),
            None => (Level::Bad, "it has none".to_owned()),
        })
    })
}

fn upstreams(view: &View<'_>) -> Vec<Finding> {
    let members = view.fleet.members.iter();
    let mut here: BTreeSet<&str> = members.map(|member| member.workload.spiffe_id.as_str()).collect();
    here.extend(view.issuer_process().map(|process| process.status.spiffe_id.as_str()));
    let registered: BTreeSet<&str> =
        view.fleet.entries.iter().map(|entry| entry.spiffe_id.as_str()).collect();
    let judge = |process: &Process<'_>, upstream: &Upstream| {
        let (name, id) = (shown(&upstream.name), shown(&upstream.spiffe_id));
        let (level, text) = if here.contains(upstream.spiffe_id.as_str())
            || !in_domain(&upstream.spiffe_id, &view.fleet.trust_domain)
        {
            (Level::Good, String::new())
        } else if registered.is_empty() || registered.contains(upstream.spiffe_id.as_str()) {
            (Level::Warning, format!("it calls {name} as {id}, and no workload has that identity now"))
        } else {
            (Level::Bad, format!("it calls {name} as {id}, which is not registered"))
        };
        Finding { subject: process.subject, level, text }
    };
    let of = |process: Process<'_>| {
        process.status.upstreams.iter().map(|upstream| judge(&process, upstream)).collect::<Vec<_>>()
    };
    view.processes().flat_map(of).collect()
}

fn reached(view: &View<'_>) -> Vec<Finding> {
    let judge = |process: &Process<'_>, upstream: &Upstream| {
        let (name, id) = (shown(&upstream.name), shown(&upstream.spiffe_id));
        let at = shown(upstream::authority(&upstream.url));
        let (level, text) = match upstream::find(view.fleet, upstream) {
            Reached::Expected => (Level::Good, String::new()),
            Reached::Other(other) => {
                (Level::Bad, format!("it calls {name} at {at} as {id}, and {} listens there", shown(other)))
            }
            Reached::OtherPort(advertised) => (
                Level::Warning,
                format!("it calls {name} at {at}, and {id} listens at {}", shown(advertised)),
            ),
            Reached::Unknown => return None,
        };
        Some(Finding { subject: process.subject, level, text })
    };
    let of = |process: Process<'_>| {
        let upstreams = process.status.upstreams.iter();
        upstreams.filter_map(|upstream| judge(&process, upstream)).collect::<Vec<_>>()
    };
    view.processes().flat_map(of).collect()
}

/// Whether `id` is in the trust domain `domain`: the issuer does not know the workloads of others.
fn in_domain(id: &str, domain: &str) -> bool {
    id.parse::<SpiffeId>().is_ok_and(|id| id.trust_domain().as_str() == domain)
}
