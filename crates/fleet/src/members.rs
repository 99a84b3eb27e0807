//! Selects the workloads to ask from the issuer's list.

use crate::ask::WorkloadTarget;
use crate::dialling::Admission;
use crate::fleet::{IssuedCertificate, Member};
use avouch_api::observe::v1::Workload;
use avouch_spiffe::HostPort;
use avouch_time::parse_rfc3339;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// The time after its certificate's expiry within which a running workload contacts the issuer again, since it retries.
const SLACK: Duration = Duration::from_secs(60);

/// A member for each address, in the order of SPIFFE IDs; also those that were named beside the issuer's list. A workload
/// that advertises no address serves nobody, and cannot be asked. Nor is anybody asked at an advertised address that is
/// not admitted.
pub(crate) fn all(
    workloads: &[Workload],
    named: &[WorkloadTarget],
    admission: Admission,
    problem: &str,
) -> Vec<Member> {
    let mut found: Vec<Member> = Vec::new();
    let mut add = |workload: &Workload, address: &str, typed: bool| {
        let same =
            |known: &&mut Member| known.address == address && known.workload.spiffe_id == workload.spiffe_id;
        let problem = match address.parse::<HostPort>() {
            Ok(address) if problem.is_empty() && !typed => {
                admission.refuses_literally(&address).unwrap_or_default()
            }
            Ok(_) => problem.to_owned(),
            Err(error) => format!("{address:?} is no address of the form host:port: {error}"),
        };
        match found.iter_mut().find(same) {
            Some(known) if typed => (known.typed, known.problem) = (typed, problem),
            Some(_) => {}
            None => {
                let (workload, address) = (workload.clone(), address.to_owned());
                found.push(Member { workload, address, typed, problem, ..Member::default() });
            }
        }
    };
    for workload in workloads {
        workload.addresses.iter().for_each(|address| add(workload, address, false));
    }
    for target in named {
        let (spiffe_id, address) = (target.spiffe_id.to_string(), target.address.to_string());
        add(&Workload { spiffe_id, addresses: vec![address.clone()], ..Workload::default() }, &address, true);
    }
    found.sort_by(|a, b| (&a.workload.spiffe_id, &a.address).cmp(&(&b.workload.spiffe_id, &b.address)));
    found
}

/// Leaves out replicas that have been replaced, whose addresses the issuer remembers for weeks: those not heard of for
/// longer than a certificate of theirs lives, where another replica of the same identity is. A workload of which no
/// replica has been heard of stays: that is worth knowing.
pub(crate) fn without_replaced(
    members: Vec<Member>,
    certificates: &[IssuedCertificate],
    now: &str,
) -> Vec<Member> {
    let Some(now) = parse_rfc3339(now) else { return members };
    let lives = lives(certificates);
    let is_current = |member: &Member| {
        let Some(seen) = parse_rfc3339(&member.workload.seen_at) else { return true };
        let life = lives.get(member.workload.spiffe_id.as_str()).copied();
        life.is_none_or(|life| now.duration_since(seen).unwrap_or_default() <= life + SLACK)
    };
    let current: Vec<String> = members
        .iter()
        .filter(|member| is_current(member))
        .map(|member| member.workload.spiffe_id.clone())
        .collect();
    members
        .into_iter()
        .filter(|member| is_current(member) || !current.contains(&member.workload.spiffe_id))
        .collect()
}

/// The longest life of each identity's certificates.
fn lives(certificates: &[IssuedCertificate]) -> HashMap<&str, Duration> {
    let mut lives: HashMap<&str, Duration> = HashMap::new();
    for certificate in certificates {
        let dates = parse_rfc3339(&certificate.not_before).zip(parse_rfc3339(&certificate.not_after));
        let life = |(from, to): (SystemTime, SystemTime)| to.duration_since(from).unwrap_or_default();
        let longest = lives.entry(&certificate.spiffe_id).or_default();
        *longest = (*longest).max(dates.map(life).unwrap_or_default());
    }
    lives
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(id: &str, addresses: &[&str], seen_at: &str) -> Workload {
        Workload {
            spiffe_id: format!("spiffe://market.example/{id}"),
            addresses: addresses.iter().map(|at| (*at).to_owned()).collect(),
            seen_at: seen_at.to_owned(),
            ..Workload::default()
        }
    }

    fn shown(members: &[Member]) -> Vec<(&str, bool)> {
        members.iter().map(|member| (member.address.as_str(), member.problem.is_empty())).collect()
    }

    #[test]
    fn every_address_is_a_member_once_and_who_has_none_is_nobody_to_ask() {
        let known = [workload("orders", &["a:1", "b:2"], ""), workload("operator", &[], "")];
        let named = ["a:1=spiffe://market.example/orders", "c:3=spiffe://market.example/new"]
            .map(|text| text.parse().unwrap());
        let all = |problem| all(&known, &named, Admission::default(), problem);
        assert_eq!(shown(&all("")), [("c:3", true), ("a:1", true), ("b:2", true)]);
        assert_eq!(shown(&all("nobody")), [("c:3", false), ("a:1", false), ("b:2", false)]);
    }

    #[test]
    fn an_address_that_is_none_is_not_dialled() {
        let known = [workload("orders", &["evil/../x:1", "", "a:1"], "")];
        let found = all(&known, &[], Admission::default(), "");
        assert_eq!(shown(&found), [("", false), ("a:1", true), ("evil/../x:1", false)]);
    }

    #[test]
    fn an_advertised_address_that_is_not_admitted_is_not_dialled_unless_a_person_types_it() {
        let [metadata, loopback] = ["169.254.169.254:80", "127.0.0.1:7001"];
        let known = [workload("orders", &[metadata, loopback], "2027-01-15T08:00:00Z")];
        let found = |admission, typed: &[&str]| {
            let typed =
                typed.iter().map(|at| format!("{at}=spiffe://market.example/orders").parse().unwrap());
            all(&known, &typed.collect::<Vec<_>>(), admission, "")
        };
        let (away, here) = (Admission::default(), Admission { loopback: true });
        assert_eq!(shown(&found(away, &[])), [(loopback, false), (metadata, false)]);
        assert_eq!(shown(&found(here, &[])), [(loopback, true), (metadata, false)]);
        let typed = found(away, &[metadata]);
        assert_eq!(shown(&typed), [(loopback, false), (metadata, true)]);
        assert!(typed[0].problem.starts_with("not asked: 127.0.0.1 is a loopback address"), "{typed:?}");
        // It is still the one that the issuer lists.
        assert!(typed[1].typed && !typed[1].workload.seen_at.is_empty());
    }

    #[test]
    fn replicas_that_were_replaced_are_left_out_and_a_workload_that_vanished_is_not() {
        let certificate = |id: &str| IssuedCertificate {
            spiffe_id: format!("spiffe://market.example/{id}"),
            not_before: "2027-01-15T07:00:00Z".to_owned(),
            not_after: "2027-01-15T08:00:00Z".to_owned(),
            ..IssuedCertificate::default()
        };
        let known = [
            workload("orders", &["old:1"], "2027-01-15T08:58:00.000Z"),
            workload("orders", &["new:1"], "2027-01-15T08:59:30.000Z"),
            workload("vanished", &["gone:1", "gone:2"], "2027-01-14T08:00:00.000Z"),
            workload("unknown", &["a:1"], "2027-01-14T08:00:00.000Z"),
            workload("unknown", &["a:2"], "2027-01-15T10:00:00.000Z"),
        ];
        let members = all(&known, &[], Admission::default(), "");
        let certificates = [certificate("orders"), certificate("vanished")];
        let left = without_replaced(members.clone(), &certificates, "2027-01-15T10:00:00Z");
        let addresses: Vec<_> = left.iter().map(|member| member.address.as_str()).collect();
        assert_eq!(addresses, ["new:1", "a:1", "a:2", "gone:1", "gone:2"]);
        assert_eq!(without_replaced(members.clone(), &certificates, "no time").len(), members.len());
    }
}
