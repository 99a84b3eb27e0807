//! What is known beside a connection's record: the dates by each clock, the inventory, who is at that address, and what
//! follows from it.

use super::super::find::{self, Held, Holder};
use super::super::page::Page;
use crate::clocks::ClockOffset;
use crate::upstream;
use avouch_api::observe::v1::Connection;
use avouch_fleet::{Fleet, IssuedCertificate, Member};
use avouch_spiffe::Reason;
use avouch_time::duration::rounded;
use avouch_time::parse_rfc3339;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The difference between clocks from which on it can be why dates are judged differently.
const CLOCKS: Duration = Duration::from_secs(5);
/// The difference from which on handshakes fail for it: SVIDs are dated back by no more.
const FAR: Duration = Duration::from_secs(30);

/// Lines about the peer and the moment, and what they point at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Evidence {
    certificate: Vec<String>,
    clocks: Vec<String>,
    bundle: Vec<String>,
    /// The workloads that are known at the peer's address, or under its serial number.
    peer: Vec<String>,
    pub(super) causes: Vec<Cause>,
}

/// A cause that the evidence shows.
#[derive(Debug, Serialize)]
pub(super) struct Cause {
    what: String,
    pub(super) fix: String,
}

impl Evidence {
    pub(super) fn of(fleet: &Fleet, held: &Held<'_, Connection>, reason: Option<Reason>) -> Self {
        let record = held.record;
        let known = at_address(fleet, record);
        let issued = fleet
            .certificates
            .iter()
            .find(|one| !record.peer_serial.is_empty() && one.serial == record.peer_serial);
        let mut evidence = Self {
            certificate: certificate(record),
            clocks: clocks(fleet, held.holder),
            bundle: bundle(fleet, record),
            peer: known.iter().map(|member| at(member, record)).collect(),
            causes: Vec::new(),
        };
        evidence.peer.extend(issued.map(inventory));
        evidence.clocks_apart(fleet, held, reason, &known);
        evidence.dates(reason, &known);
        evidence.expectation(fleet, held, reason, &known);
        evidence.trust(fleet, held, reason, issued);
        evidence
    }

    /// The server's clock, or that of whom the peer may be.
    fn clocks_apart(
        &mut self,
        fleet: &Fleet,
        held: &Held<'_, Connection>,
        reason: Option<Reason>,
        known: &[&Member],
    ) {
        let limit = match reason {
            Some(Reason::CertExpired | Reason::CertNotYetValid) => CLOCKS,
            Some(Reason::HandshakeRefused | Reason::PeerConnectionClosed) => FAR,
            _ => return,
        };
        let far = |status| ClockOffset::measured(status).filter(|offset| offset.amount >= limit);
        if let Some(offset) = held.holder.status(fleet).and_then(far) {
            self.causes.push(Cause {
                what: format!("the server's clock is {offset}"),
                fix: "set the clock of the server's machine; `avouch check --only clock` shows all"
                    .to_owned(),
            });
        }
        for member in known {
            if let Some(offset) = member.status.as_ref().and_then(far) {
                self.causes.push(Cause {
                    what: format!("the clock of {} is {offset}", member.name()),
                    fix: format!("set the clock of the machine of {}", member.name()),
                });
            }
        }
    }

    /// The certificate has expired because a renewal fails.
    fn dates(&mut self, reason: Option<Reason>, known: &[&Member]) {
        if reason != Some(Reason::CertExpired) {
            return;
        }
        for member in known {
            let renewal = member.status.as_ref().and_then(|status| status.last_renewal.as_ref());
            let error = renewal.map(|renewal| renewal.error.as_str()).unwrap_or_default();
            if !error.is_empty() {
                self.causes.push(Cause {
                    what: format!("{} cannot renew: {error}", member.name()),
                    fix: "`avouch check --only identity` says what is in the way of its renewal".to_owned(),
                });
            }
        }
    }

    /// The client aborted the handshake: it may expect another identity at this address.
    fn expectation(
        &mut self,
        fleet: &Fleet,
        held: &Held<'_, Connection>,
        reason: Option<Reason>,
        known: &[&Member],
    ) {
        let Holder::Member(server) = held.holder else { return };
        if !matches!(reason, Some(Reason::HandshakeRefused | Reason::PeerConnectionClosed)) {
            return;
        }
        let possible =
            |member: &&Member| known.is_empty() || known.iter().any(|one| std::ptr::eq(*one, *member));
        for member in fleet.members.iter().filter(possible) {
            for call in member.status.iter().flat_map(|status| &status.upstreams) {
                let here = upstream::address(upstream::authority(&call.url));
                let here = here.is_some_and(|at| upstream::listens_at(server, at));
                if here && call.spiffe_id != server.workload.spiffe_id {
                    self.causes.push(Cause {
                        what: format!(
                            "{} expects {} at {}, and this is {}",
                            member.name(),
                            call.spiffe_id,
                            call.url,
                            server.workload.spiffe_id
                        ),
                        fix: format!(
                            "correct the address or the SPIFFE ID of [upstreams.{}] in the configuration of {}",
                            call.name,
                            member.name()
                        ),
                    });
                }
            }
        }
    }

    /// The certificate is untrusted: the bundle on this side is old, or the authority is a foreign one.
    fn trust(
        &mut self,
        fleet: &Fleet,
        held: &Held<'_, Connection>,
        reason: Option<Reason>,
        issued: Option<&IssuedCertificate>,
    ) {
        let untrusted = [Reason::CertUntrusted, Reason::ChainIncomplete, Reason::TrustDomainUnknown];
        if !reason.is_some_and(|reason| untrusted.contains(&reason)) {
            return;
        }
        let record = held.record;
        let newest = sequence(fleet);
        if let Some(newest) = newest.filter(|newest| (1..*newest).contains(&record.bundle_sequence)) {
            self.causes.push(Cause {
                what: format!(
                    "the server judged by bundle {}, the issuer gives out {newest}",
                    record.bundle_sequence
                ),
                fix: "see why the server has an old bundle: `avouch check --only trust`".to_owned(),
            });
        }
        let ours = fleet.issuer.iter().flat_map(|issuer| &issuer.signing);
        let ours: Vec<&str> = ours.map(|authority| authority.key_id.as_str()).collect();
        let foreign = !record.peer_authority.is_empty() && !ours.contains(&record.peer_authority.as_str());
        if foreign && issued.is_none() && !ours.is_empty() {
            self.causes.push(Cause {
                what: format!(
                    "the certificate was signed by {}, which is not this issuer",
                    record.peer_authority
                ),
                fix: "let the peer have its certificate from this issuer: `avouch token create SPIFFE_ID`"
                    .to_owned(),
            });
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let groups = [
            ("certificate", &self.certificate),
            ("clocks", &self.clocks),
            ("bundle", &self.bundle),
            ("peer", &self.peer),
        ];
        for (name, lines) in groups {
            lines.iter().for_each(|line| page.fact(name, line));
        }
    }

    pub(super) fn write_causes(&self, page: &mut Page) {
        self.causes.iter().for_each(|cause| page.fact("cause", &cause.what));
    }
}

fn certificate(record: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    let mut who = Vec::new();
    for (name, value) in
        [("", &record.peer_id), ("serial ", &record.peer_serial), ("subject ", &record.peer_subject)]
    {
        if !value.is_empty() {
            who.push(format!("{name}{value}"));
        }
    }
    if !who.is_empty() {
        lines.push(who.join(", "));
    }
    let judged = parse_rfc3339(&record.time);
    for (name, end, over) in
        [("valid from", &record.peer_not_before, false), ("valid until", &record.peer_not_after, true)]
    {
        if end.is_empty() {
            continue;
        }
        let apart = parse_rfc3339(end).zip(judged).map(|(end, judged)| dates(end, judged, over));
        lines.push(format!("{name} {end}{}", apart.unwrap_or_default()));
    }
    if !record.peer_authority.is_empty() {
        lines.push(format!("signed by the authority {}", record.peer_authority));
    }
    lines
}

/// The words for how far a date was from the time of the verdict, by the server's clock.
fn dates(end: SystemTime, judged: SystemTime, over: bool) -> String {
    match (end.duration_since(judged), over) {
        (Ok(ahead), true) => format!(" ({} left when it was judged)", rounded(ahead)),
        (Ok(ahead), false) => format!(" ({} ahead when it was judged)", rounded(ahead)),
        (Err(behind), true) => {
            format!(" (over for {} when it was judged)", rounded(behind.duration()))
        }
        (Err(_), false) => String::new(),
    }
}

fn clocks(fleet: &Fleet, holder: Holder<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Holder::Member(_), Some(status)) = (holder, holder.status(fleet))
        && let Some(offset) = ClockOffset::measured(status)
    {
        lines.push(format!("the server's is {offset} (measured {})", status.issuer_clock_at));
    }
    let issuer = fleet.issuer.as_ref().and_then(|issuer| issuer.process.as_ref());
    let issuer = issuer.and_then(|status| parse_rfc3339(&status.now));
    if let Some((here, issuer)) = parse_rfc3339(&fleet.taken_at).zip(issuer) {
        lines.push(format!("this machine's is {}", ClockOffset::between(here, issuer)));
    }
    lines
}

fn sequence(fleet: &Fleet) -> Option<u64> {
    Some(fleet.issuer.as_ref()?.process.as_ref()?.bundle.as_ref()?.sequence)
}

fn bundle(fleet: &Fleet, record: &Connection) -> Vec<String> {
    match (record.bundle_sequence, sequence(fleet)) {
        (0, _) => Vec::new(),
        (used, Some(newest)) => vec![format!("judged by generation {used}; the issuer gives out {newest}")],
        (used, None) => vec![format!("judged by generation {used}")],
    }
}

/// The workloads that listen on the peer's host; on a loopback that is everybody, and says nothing.
fn at_address<'a>(fleet: &'a Fleet, record: &Connection) -> Vec<&'a Member> {
    let Some(peer) = find::address(record) else { return Vec::new() };
    let by_id = |member: &&Member| !record.peer_id.is_empty() && member.workload.spiffe_id == record.peer_id;
    let by_host = |member: &&Member| {
        let host = upstream::address(&member.address).map(|address| address.ip());
        !peer.ip().is_loopback() && host == Some(peer.ip())
    };
    let named: Vec<_> = fleet.members.iter().filter(by_id).collect();
    if named.is_empty() { fleet.members.iter().filter(by_host).collect() } else { named }
}

fn at(member: &Member, record: &Connection) -> String {
    let svid = member.status.as_ref().and_then(|status| status.svid.as_ref());
    let name = member.name();
    match svid {
        Some(svid) if svid.serial == record.peer_serial => format!("{name} still uses this certificate"),
        Some(svid) => format!("{name} now uses the certificate {}, until {}", svid.serial, svid.not_after),
        None => format!("may be {name}, which did not answer"),
    }
}

fn inventory(issued: &IssuedCertificate) -> String {
    let IssuedCertificate { serial, spiffe_id, origin, not_after, .. } = issued;
    format!("the issuer gave out {serial} to {spiffe_id} ({origin}), until {not_after}")
}
