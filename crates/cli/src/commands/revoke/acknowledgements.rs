//! Who refuses what was revoked, as they say so: counted, with the time it took them, and who is missing until when.

use crate::commands::now;
use crate::commands::proto::time;
use crate::error::CliError;
use avouch_api::admin::v1::{Acknowledgement, WatchAcknowledgementsResponse};
use avouch_text::shorten;
use avouch_time::duration::rounded;
use serde::Serialize;
use std::time::SystemTime;

/// The acknowledgements so far.
pub(super) struct Progress {
    since: Option<SystemTime>,
    /// The SPIFFE ID of runs of this program.
    operator: String,
    /// The time that each one took, in milliseconds.
    took: Vec<u64>,
    waiting: Vec<Acknowledgement>,
    /// Whether the issuer has said who there is.
    told: bool,
}

/// What a message of the issuer brings.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Heard {
    pub(super) processes: Vec<Process>,
    /// The number of all that have acknowledged by now.
    pub(super) acknowledged: usize,
    pub(super) total: usize,
}

/// A process that has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Process {
    pub(super) spiffe_id: String,
    pub(super) serial: String,
    pub(super) addresses: Vec<String>,
    /// Time since the revocation was durable.
    pub(super) after_millis: u64,
}

/// Who refuses it and who has not said so.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) acknowledged: usize,
    pub(super) total: usize,
    pub(super) complete: bool,
    pub(super) latency: Option<Latency>,
    pub(super) missing: Vec<Missing>,
    /// Runs of this program that are over, whose certificates are not: they accept nobody.
    pub(super) over: usize,
}

/// The time from the durable revocation to its acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) p50_millis: u64,
    pub(super) p99_millis: u64,
    pub(super) max_millis: u64,
}

/// A process that has not acknowledged.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Missing {
    spiffe_id: String,
    serial: String,
    addresses: Vec<String>,
    state: String,
    /// How long its certificate lasts: from then on nobody accepts it.
    at_most_seconds: Option<u64>,
}

impl Progress {
    pub(super) fn new(since: Option<SystemTime>, operator: String) -> Self {
        Self { since, operator, took: Vec::new(), waiting: Vec::new(), told: false }
    }

    /// Takes a message of the issuer, and returns what is new in it.
    pub(super) fn take(&mut self, message: WatchAcknowledgementsResponse) -> Result<Option<Heard>, CliError> {
        let WatchAcknowledgementsResponse { acknowledged, waiting, complete } = message;
        let processes: Vec<_> = acknowledged.iter().map(|one| self.process(one)).collect::<Result<_, _>>()?;
        self.took.extend(processes.iter().map(|process| process.after_millis));
        // The list comes only when it has changed: whoever has acknowledged is no longer in it.
        if !waiting.is_empty() || complete {
            self.waiting = waiting;
        } else {
            self.waiting.retain(|one| !acknowledged.iter().any(|other| same(one, other)));
        }
        self.told = true;
        if processes.is_empty() {
            return Ok(None);
        }
        let (acknowledged, total) = (self.took.len(), self.total());
        Ok(Some(Heard { processes, acknowledged, total }))
    }

    fn process(&self, one: &Acknowledgement) -> Result<Process, CliError> {
        let after = time(one.at.as_ref())?.zip(self.since);
        let after = after.map(|(at, since)| at.duration_since(since).unwrap_or_default());
        Ok(Process {
            spiffe_id: one.spiffe_id.clone(),
            serial: one.serial.clone(),
            addresses: one.addresses.clone(),
            after_millis: u64::try_from(after.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Those that are still waited for. A run of this program that is over has a certificate that is not: it has no
    /// address and accepts nobody.
    fn missing(&self) -> impl Iterator<Item = &Acknowledgement> {
        self.waiting.iter().filter(|one| !self.is_over(one))
    }

    fn is_over(&self, one: &Acknowledgement) -> bool {
        one.spiffe_id == self.operator && one.addresses.is_empty() && one.state == "away"
    }

    fn total(&self) -> usize {
        self.took.len() + self.missing().count()
    }

    /// Whether everybody refuses it.
    pub(super) fn is_complete(&self) -> bool {
        self.told && self.missing().next().is_none()
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            acknowledged: self.took.len(),
            total: self.total(),
            complete: self.is_complete(),
            latency: Latency::of(&self.took),
            missing: self.missing().map(Missing::of).collect(),
            over: self.waiting.iter().filter(|one| self.is_over(one)).count(),
        }
    }
}

fn same(one: &Acknowledgement, other: &Acknowledgement) -> bool {
    (&one.spiffe_id, &one.serial, &one.addresses) == (&other.spiffe_id, &other.serial, &other.addresses)
}

impl Latency {
    fn of(took: &[u64]) -> Option<Self> {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        // Nearest rank: the smallest value that so many in a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50_millis: rank(50)?, p99_millis: rank(99)?, max_millis: rank(100)? })
    }
}

impl Missing {
    fn of(one: &Acknowledgement) -> Self {
        let end = one.not_after.and_then(|at| SystemTime::try_from(at).ok());
        Self {
            spiffe_id: one.spiffe_id.clone(),
            serial: one.serial.clone(),
            addresses: one.addresses.clone(),
            state: one.state.clone(),
            at_most_seconds: end.map(|end| end.duration_since(now()).unwrap_or_default().as_secs()),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let at = match self.addresses.first() {
            Some(address) => format!(" at {}", shorten(address)),
            None => format!(" (certificate {})", shorten(&self.serial)),
        };
        let why = match self.state.as_str() {
            "too old" => "is of an older version, which knows no revocations",
            "away" => "has not answered",
            _ => "is connected, and has not answered",
        };
        let until = match self.at_most_seconds {
            Some(left) => {
                let left = rounded(std::time::Duration::from_secs(left));
                format!("at most {left}, its certificate ends then")
            }
            None => "the end of its certificate is not known".to_owned(),
        };
        format!("{}{at} {why}: {until}", shorten(&self.spiffe_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const OPERATOR: &str = "spiffe://market.example/operator";

    fn since() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn at(name: &str, millis: u64) -> Acknowledgement {
        Acknowledgement {
            spiffe_id: format!("spiffe://market.example/{name}"),
            at: Some((since() + Duration::from_millis(millis)).into()),
            state: "connected".to_owned(),
            ..Acknowledgement::default()
        }
    }

    fn away(name: &str) -> Acknowledgement {
        Acknowledgement { at: None, state: "away".to_owned(), ..at(name, 0) }
    }

    fn message(
        acknowledged: Vec<Acknowledgement>,
        waiting: Vec<Acknowledgement>,
        complete: bool,
    ) -> WatchAcknowledgementsResponse {
        WatchAcknowledgementsResponse { acknowledged, waiting, complete }
    }

    #[test]
    fn everybody_is_counted_once_with_the_time_it_took() {
        let mut progress = Progress::new(Some(since()), OPERATOR.to_owned());
        assert!(!progress.is_complete(), "nobody has said who there is");
        let waiting = vec![at("b", 0), at("c", 0)];
        assert_eq!(progress.take(message(vec![at("a", 8)], waiting, false)).unwrap().unwrap().total, 3);
        assert!(progress.take(message(vec![at("b", 41)], vec![], false)).unwrap().is_some());
        let summary = progress.summary();
        assert_eq!((summary.acknowledged, summary.total, summary.complete), (2, 3, false));
        progress.take(message(vec![at("c", 55)], vec![], true)).unwrap();
        let summary = progress.summary();
        assert_eq!((summary.acknowledged, summary.total, summary.complete), (3, 3, true));
        let expected = Latency { p50_millis: 41, p99_millis: 55, max_millis: 55 };
        assert_eq!(summary.latency, Some(expected));
    }

    #[test]
    fn runs_of_this_program_that_are_over_are_not_waited_for() {
        let mut progress = Progress::new(Some(since()), OPERATOR.to_owned());
        progress.take(message(vec![at("a", 1)], vec![away("operator"), away("b")], false)).unwrap();
        let summary = progress.summary();
        assert_eq!((summary.total, summary.over, summary.complete), (2, 1, false));
        progress.take(message(vec![], vec![away("operator")], false)).unwrap();
        assert!(progress.is_complete());
        let serving = Acknowledgement { addresses: vec!["a:1".to_owned()], ..away("operator") };
        progress.take(message(vec![], vec![serving], false)).unwrap();
        assert!(!progress.is_complete(), "one with an address may accept somebody");
    }

    #[test]
    fn a_clock_that_was_put_back_counts_as_no_time_and_nobody_as_no_latency() {
        let mut progress = Progress::new(Some(since() + Duration::from_secs(9)), String::new());
        assert_eq!(progress.summary().latency, None);
        progress.take(message(vec![at("a", 1)], vec![], true)).unwrap();
        assert_eq!(progress.summary().latency.unwrap().max_millis, 0);
    }

    #[test]
    fn whoever_is_missing_is_named_with_why_and_until_when_it_matters() {
        let text = |state: &str, addresses: &[&str]| {
            let addresses = addresses.iter().map(|at| (*at).to_owned()).collect();
            let (spiffe_id, serial) = ("spiffe://market.example/inventory".to_owned(), "0a1b".to_owned());
            Missing { spiffe_id, serial, addresses, state: state.to_owned(), at_most_seconds: Some(47) }
                .to_text()
        };
        assert_eq!(
            text("away", &["10.0.0.7:7001"]),
            "spiffe://market.example/inventory at 10.0.0.7:7001 has not answered: at most 47s, its certificate ends then"
        );
        assert!(
            text("too old", &[])
                .contains("(certificate 0a1b) is of an older version, which knows no revocations")
        );
    }
}
