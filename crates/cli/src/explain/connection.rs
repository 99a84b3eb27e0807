//! An attempt to connect: which certificate, judged when and by what, and what can be wrong with it.

mod evidence;

use super::find::{self, Held};
use super::page::{Explanation, Page, moment};
use super::remedy::Remedy;
use super::revoked::Revoked;
use super::vocabulary;
use avouch_api::observe::v1::{Connection, Decision};
use avouch_fleet::Fleet;
use avouch_spiffe::Reason;
use evidence::Evidence;
use serde::Serialize;

/// The most other records of the same address that are shown to people.
const SHOWN: usize = 5;

#[derive(Serialize)]
struct Story<'a> {
    kind: &'static str,
    #[serde(flatten)]
    record: &'a Connection,
    server: &'a str,
    asked: String,
    summary: &'static str,
    evidence: Evidence,
    /// The revocation that it was refused or ended for.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Revoked>,
    /// Refused calls over it.
    calls: Vec<&'a Decision>,
    /// Other connections that may be meant.
    others: Vec<&'a Connection>,
    remedy: Remedy,
}

pub(super) fn explain(
    fleet: &Fleet,
    held: &Held<'_, Connection>,
    others: &[Held<'_, Connection>],
) -> Explanation {
    let record = held.record;
    let reason: Option<Reason> = said(record).parse().ok();
    let evidence = Evidence::of(fleet, held, reason);
    let revoked = Revoked::of(fleet, reason, &record.peer_id, &record.peer_serial, judged_at(record));
    let story = Story {
        kind: "connection",
        record,
        server: held.holder.id(fleet),
        asked: held.holder.name(),
        summary: match reason {
            // In the server's own record it was the client.
            Some(Reason::HandshakeRefused) => "the client refused this server; its own error line says why",
            reason => reason.map(Reason::summary).unwrap_or_default(),
        },
        calls: find::over(fleet, held),
        others: others.iter().map(|held| held.record).collect(),
        remedy: remedy(reason, &evidence, revoked.as_ref()),
        evidence,
        revoked,
    };
    Explanation { text: story.to_text(fleet), json: serde_json::to_value(&story).unwrap_or_default() }
}

/// When the peer was judged last: at the end of a connection that was ended.
fn judged_at(record: &Connection) -> &str {
    if record.ended_at.is_empty() { &record.time } else { &record.ended_at }
}

/// The reason of a refusal, or of an end.
fn said(record: &Connection) -> &str {
    if record.reason.is_empty() { &record.end_reason } else { &record.reason }
}

/// The remedy: what the evidence points at, then what the revocation says or else the vocabulary in general.
fn remedy(reason: Option<Reason>, evidence: &Evidence, revoked: Option<&Revoked>) -> Remedy {
    let general = match reason {
        // This is the record that the vocabulary sends its reader to.
        Some(Reason::HandshakeRefused) => {
            "read the client's error line, and look up its reason: `avouch explain REASON`".to_owned()
        }
        reason => reason.map(vocabulary::remedy).unwrap_or_default(),
    };
    let advice = evidence.causes.iter().map(|cause| cause.fix.clone());
    let advice = advice.chain([revoked.map_or(general, |revoked| revoked.fix.clone())]);
    let mut remedy = Remedy::default();
    remedy.advice.extend(advice.filter(|advice| !advice.is_empty()));
    remedy
}

impl Story<'_> {
    fn to_text(&self, fleet: &Fleet) -> String {
        let record = self.record;
        let head = match (record.verdict.as_str(), record.end_reason.as_str()) {
            ("refused", _) => "REFUSED",
            (_, "") => "ACCEPTED",
            (_, _) => "ACCEPTED, THEN CLOSED",
        };
        let mut page = Page::new(&format!("{head} {} → {}", record.peer_address, self.server));
        let when = moment(fleet, &record.time);
        page.fact("connection", &format!("{}, {when}, by {}", record.id, self.asked));
        if !said(record).is_empty() {
            page.fact("because", &format!("{}: {}", said(record), self.summary));
        }
        for detail in [&record.detail, &record.end_detail] {
            if !detail.is_empty() {
                page.fact("because", detail);
            }
        }
        if let Some(revoked) = &self.revoked {
            revoked.write(&mut page);
        }
        self.evidence.write(&mut page);
        self.write_tls(&mut page);
        for call in &self.calls {
            let line = format!("{} {} {} ({})", call.verdict, call.method, call.reason, call.id);
            page.fact("calls", &line);
        }
        if record.suppressed > 0 {
            let line =
                format!("{} like it before it, of the same network, were only counted", record.suppressed);
            page.fact("suppressed", &line);
        }
        self.evidence.write_causes(&mut page);
        self.remedy.write(&mut page);
        self.write_others(&mut page);
        page.finish()
    }

    fn write_tls(&self, page: &mut Page) {
        let Connection { tls_version, cipher, group, .. } = self.record;
        let agreed: Vec<&str> = [tls_version, cipher, group]
            .into_iter()
            .map(String::as_str)
            .filter(|one| !one.is_empty())
            .collect();
        if !agreed.is_empty() {
            page.fact("TLS", &agreed.join(", "));
        }
    }

    fn write_others(&self, page: &mut Page) {
        for other in self.others.iter().take(SHOWN) {
            let line = format!(
                "{} from {} at {}: {} {}",
                other.id,
                other.peer_address,
                other.time,
                other.verdict,
                said(other)
            );
            page.fact("others", line.trim_end());
        }
        if self.others.len() > SHOWN {
            page.fact("others", &format!("and {} more, which --json lists", self.others.len() - SHOWN));
        }
    }
}
