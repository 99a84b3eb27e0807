//! The revocation behind a refusal or the end of a connection: who made it, when, why, what it hit, and how it is undone.

use super::page::{Page, moment};
use avouch_fleet::{Fleet, RevocationRecord};
use avouch_spiffe::Reason;
use avouch_time::parse_rfc3339;
use serde::Serialize;

/// The most serial numbers that are named.
const NAMED: usize = 6;

/// What is known of a revocation.
#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    facts: Vec<String>,
    #[serde(skip)]
    pub(super) fix: String,
    revocation: RevocationRecord,
}

impl Revoked {
    /// The revocation of a peer, if it was refused for one and the issuer has it on record.
    pub(super) fn of(
        fleet: &Fleet,
        reason: Option<Reason>,
        id: &str,
        serial: &str,
        at: &str,
    ) -> Option<Self> {
        if !matches!(reason, Some(Reason::IdentityRevoked | Reason::CertRevoked)) {
            return None;
        }
        let found = fleet.revocations.iter().filter(|one| is_of(one, id, serial));
        // What is in force explains it best, then the latest that was made before: the list begins with the newest.
        let judged = parse_rfc3339(at);
        let later = |one: &&RevocationRecord| {
            judged.zip(parse_rfc3339(&one.created_at)).is_some_and(|(judged, made)| made > judged)
        };
        let revocation = found.min_by_key(|one| (later(one), !one.undone_at.is_empty()))?.clone();
        Some(Self { facts: facts(fleet, &revocation), fix: fix(&revocation), revocation })
    }

    pub(super) fn write(&self, page: &mut Page) {
        self.facts.iter().for_each(|fact| page.fact("revoked", fact));
    }
}

fn is_of(revocation: &RevocationRecord, id: &str, serial: &str) -> bool {
    let is_hit = |one: &String| !serial.is_empty() && one.eq_ignore_ascii_case(serial);
    (!id.is_empty() && revocation.subject == id)
        || revocation.serials.iter().any(is_hit)
        || revocation.subject.strip_prefix("serial:").is_some_and(|one| is_hit(&one.to_owned()))
}

fn facts(fleet: &Fleet, revocation: &RevocationRecord) -> Vec<String> {
    let RevocationRecord { id, subject, reason, actor, created_at, serials, .. } = revocation;
    let subject = if subject.is_empty() { "(a subject that is not known)" } else { subject };
    let when = moment(fleet, created_at);
    let mut facts = vec![format!("{subject} by {actor}, {when}, as revocation {id}")];
    facts.push(match reason.as_str() {
        "" => "no reason was given".to_owned(),
        reason => format!("reason: {reason}"),
    });
    if !serials.is_empty() {
        let named: Vec<_> = serials.iter().take(NAMED).map(String::as_str).collect();
        let more = serials.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        facts.push(format!("it hit the certificates {}{more}", named.join(", ")));
    }
    for (what, at, by) in
        [("ends", &revocation.expires_at, ""), ("undone", &revocation.undone_at, &revocation.undone_by)]
    {
        if !at.is_empty() {
            let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
            facts.push(format!("{what} {}{by}", moment(fleet, at)));
        }
    }
    facts
}

fn fix(revocation: &RevocationRecord) -> String {
    let RevocationRecord { id, actor, .. } = revocation;
    if !revocation.undone_at.is_empty() {
        return "nothing: it was undone since; let the peer connect again".to_owned();
    }
    format!("if it was a mistake, agree with {actor} and take it back: `avouch revoke --undo {id}`")
}
