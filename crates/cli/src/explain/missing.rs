//! The answer where nobody has a record: who was asked, who was silent, and how a record can be gone.

use super::target::ExplainTarget;
use avouch_api::observe::v1::Record;
use avouch_fleet::Fleet;
use avouch_text::shorten;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The most lines of a kind that are shown to people.
const SHOWN: usize = 20;

/// Why nothing was found.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    found: bool,
    what: String,
    /// The processes that answered, and how many records they have.
    asked: Vec<Asked>,
    /// The processes that did not answer, and why.
    silent: Vec<Silent>,
    /// The number of records that were only counted, by process and reason.
    suppressed: Vec<Suppressed>,
}

#[derive(Debug, Serialize)]
struct Asked {
    who: String,
    records: usize,
    /// The number of records of each kind that are kept in memory.
    capacity: u64,
    /// The time of the oldest record.
    oldest: String,
    dropped: u64,
}

#[derive(Debug, Serialize)]
struct Silent {
    who: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Suppressed {
    who: String,
    reason: String,
    count: u64,
}

impl Missing {
    pub(super) fn of(fleet: &Fleet, target: &ExplainTarget) -> Self {
        let mut missing = Self {
            found: false,
            what: match target {
                ExplainTarget::Decision(id) => id.to_string(),
                ExplainTarget::Connection(id) => id.to_string(),
                ExplainTarget::Peer(peer) => format!("a connection from {}", peer.address),
                ExplainTarget::Check(id) => (*id).to_owned(),
                ExplainTarget::Reason(reason) => reason.to_string(),
            },
            asked: Vec::new(),
            silent: Vec::new(),
            suppressed: Vec::new(),
        };
        let silent = |who: String, why: &str| Silent { who, why: why.to_owned() };
        match &fleet.issuer {
            Some(issuer) => {
                let process = issuer.process.clone().unwrap_or_default();
                missing.answered("the issuer", &fleet.issuer_records, process.records.as_ref());
            }
            None => missing.silent.push(silent("the issuer".to_owned(), &fleet.issuer_problem)),
        }
        for member in &fleet.members {
            if let Some(status) = &member.status {
                missing.answered(&member.name(), &member.records, status.records.as_ref());
            }
        }
        missing.silent.extend(fleet.silent().map(|member| silent(member.name(), &member.problem)));
        let no_address = "it tells the issuer no address, so it cannot be asked";
        missing.silent.extend(fleet.unreachable().map(|member| silent(member.name(), no_address)));
        if !fleet.operator_problem.is_empty() {
            missing.silent.push(silent("all workloads".to_owned(), &fleet.operator_problem));
        }
        missing
    }

    fn answered(&mut self, who: &str, records: &[Record], kept: Option<&avouch_api::observe::v1::Records>) {
        let time = |record: &Record| {
            let of_call = record.decision.as_ref().map(|decision| decision.time.clone());
            of_call.or_else(|| record.connection.as_ref().map(|connection| connection.time.clone()))
        };
        self.asked.push(Asked {
            who: who.to_owned(),
            records: records.len(),
            capacity: kept.map(|kept| kept.capacity).unwrap_or_default(),
            oldest: records.first().and_then(time).unwrap_or_default(),
            dropped: kept.map(|kept| kept.dropped).unwrap_or_default(),
        });
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records {
            let (reason, count) = match record {
                Record { decision: Some(decision), .. } => (&decision.reason, decision.suppressed),
                Record { connection: Some(connection), .. } => (&connection.reason, connection.suppressed),
                _ => continue,
            };
            let sum = counted.entry(reason).or_default();
            *sum = sum.saturating_add(count);
        }
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        self.suppressed.extend(counted.map(|(reason, count)| Suppressed {
            who: who.to_owned(),
            reason: reason.to_owned(),
            count,
        }));
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nobody who answered has a record of {}", self.what)?;
        for asked in self.asked.iter().take(SHOWN) {
            write!(f, "\n  {} was asked and has {} records", asked.who, asked.records)?;
            if !asked.oldest.is_empty() {
                write!(f, ", the oldest of {}", shorten(&asked.oldest))?;
            }
            if asked.dropped > 0 {
                write!(f, "; it dropped {}", asked.dropped)?;
            }
        }
        for silent in self.silent.iter().take(SHOWN) {
            write!(f, "\n  {} did not answer: {}", silent.who, shorten(&silent.why))?;
        }
        for suppressed in self.suppressed.iter().take(SHOWN) {
            let Suppressed { who, reason, count } = suppressed;
            write!(f, "\n  {who} only counted {count} others for {}", shorten(reason))?;
        }
        Ok(())
    }
}

impl Missing {
    /// The help: what to do next.
    pub(crate) fn help(&self) -> String {
        let kept = "a process remembers so many records, since it started; older ones are in its record file and its log";
        match self.silent.is_empty() {
            true => format!("{kept}. `avouch tap --denied --follow` shows the next one"),
            false => format!("{kept}. Who was silent may have it: `avouch check` says what is in the way"),
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
