//! Conversions between the protobuf types and the issuer's own.

use crate::entries::EntryError;
use crate::issuance::Grant;
use crate::store::{
    AuditRecord, CertificateRecord, Entry, Fork, NewEntry, RevocationPlan, RevocationRecord, TrustAck,
};
use crate::trust;
use avouch_api::admin::v1 as admin;
use avouch_api::issuer::v1 as issuer;
use avouch_api::observe::v1 as observe;
use avouch_spiffe::{Generation, Reason, SpiffeId};
use avouch_time::timestamp;
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use tonic::Status;

/// The answer to a workload that says which trust state it holds; `None`: it knows no trust states.
pub(super) fn svid(grant: &Grant, held: Option<issuer::Generation>) -> issuer::IssuedSvid {
    let held = held.map(|held| Generation { epoch: held.epoch, counter: held.counter });
    let newer = held.is_some_and(|held| grant.trust.generation() > held);
    issuer::IssuedSvid {
        chain: grant.issued.chain().iter().map(|der| der.to_vec()).collect(),
        bundle: Some(trust::bundle(&grant.trust.bundle)),
        issuer_time: Some(grant.now.into()),
        trust: if newer { grant.trust.whole() } else { Bytes::new() },
    }
}

pub(super) fn spiffe_id(text: &str) -> Result<SpiffeId, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("{text:?} is no SPIFFE ID: {error}")))
}

pub(super) fn new_entry(entry: admin::Entry, now: SystemTime) -> Result<NewEntry, Status> {
    Ok(NewEntry {
        spiffe_id: spiffe_id(&entry.spiffe_id)?,
        svid_ttl: span("svid_ttl", entry.svid_ttl)?,
        recovery_window: span("recovery_window", entry.recovery_window)?,
        dns_names: entry.dns_names,
        created_at: whole_milliseconds(now),
        revokes_forks: match entry.on_fork.as_str() {
            "" | "alert" => false,
            "revoke" => true,
            _ => return Err(Status::invalid_argument("on_fork is \"alert\" or \"revoke\"")),
        },
        recovery_limit: entry.recovery_limit,
    })
}

/// A time in the precision of the store, so that the answer is what will be listed later.
fn whole_milliseconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    at - Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000))
}

pub(super) fn span(field: &str, span: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    span.map(|span| {
        Duration::try_from(span)
            .map_err(|_| Status::invalid_argument(format!("{field} is negative or too long")))
    })
    .transpose()
}

pub(super) fn entry(entry: Entry) -> admin::Entry {
    let entry = entry.entry;
    let proto = |span: Option<Duration>| span.and_then(|span| span.try_into().ok());
    admin::Entry {
        spiffe_id: entry.spiffe_id.to_string(),
        svid_ttl: proto(entry.svid_ttl),
        dns_names: entry.dns_names,
        recovery_window: proto(entry.recovery_window),
        created_at: Some(entry.created_at.into()),
        on_fork: if entry.revokes_forks { "revoke" } else { "alert" }.to_owned(),
        recovery_limit: entry.recovery_limit,
    }
}

pub(super) fn certificate(row: CertificateRecord) -> admin::Certificate {
    admin::Certificate {
        serial: row.serial,
        spiffe_id: row.spiffe_id.to_string(),
        not_before: Some(row.not_before.into()),
        not_after: Some(row.not_after.into()),
        origin: row.origin.as_str().to_owned(),
        last_seen: row.last_seen.map(Into::into),
        parent: row.parent.unwrap_or_default(),
        ..admin::Certificate::default()
    }
}

pub(super) fn revocation(record: RevocationRecord) -> admin::Revocation {
    admin::Revocation {
        id: record.id,
        // A key is of use to nobody who knows what it stands for.
        key: record.key.filter(|_| record.subject.is_empty()).map(|key| key.0.to_vec()).unwrap_or_default(),
        subject: record.subject,
        spiffe_id: record.spiffe_id,
        reason: record.by.reason,
        actor: record.by.actor,
        created_at: Some(record.by.at.into()),
        expires_at: record.expires_at.map(Into::into),
        undone_at: record.undone_at.map(Into::into),
        undone_by: record.undone_by,
        epoch: record.since.epoch,
        counter: record.since.counter,
        serials: record.serials,
    }
}

/// The answer to a revocation that was made, or to a dry run.
pub(super) fn revoked(
    record: Option<RevocationRecord>,
    subject: &str,
    plan: RevocationPlan,
    now: SystemTime,
) -> admin::RevokeResponse {
    let planned = || admin::Revocation {
        subject: subject.to_owned(),
        spiffe_id: plan.spiffe_id.to_string(),
        ..admin::Revocation::default()
    };
    let revocation = record.map_or_else(planned, revocation);
    let (live_identities, hit_identities) = (plan.live_identities, plan.hit_identities);
    let id = revocation.id;
    let hit = |row| admin::Certificate { revocation_id: id, ..certificate(row) };
    admin::RevokeResponse {
        revocation: Some(revocation),
        certificates: plan.certificates.into_iter().filter(|it| it.not_after >= now).map(hit).collect(),
        forked: plan.forked.into_iter().map(hit).collect(),
        live_identities,
        hit_identities,
    }
}

pub(super) fn fork(fork: Fork) -> admin::Fork {
    admin::Fork {
        spiffe_id: fork.spiffe_id.to_string(),
        serial: fork.serial,
        peer_addresses: fork.children.iter().map(|child| child.requested_from.clone()).collect(),
        children: fork.children.into_iter().map(certificate).collect(),
        noticed_at: Some(fork.noticed_at.into()),
        revocation_id: fork.revocation.unwrap_or_default(),
    }
}

pub(super) fn audit(record: AuditRecord) -> admin::AuditRecord {
    admin::AuditRecord {
        id: record.id,
        at: Some(record.by.at.into()),
        actor: record.by.actor,
        act: record.act,
        subject: record.subject,
        before: record.before,
        after: record.after,
        reason: record.by.reason,
    }
}

pub(super) fn workload(ack: TrustAck) -> observe::Workload {
    observe::Workload {
        spiffe_id: ack.spiffe_id.to_string(),
        addresses: ack.addresses,
        bundle_sequence: ack.sequence,
        seen_at: timestamp::rfc3339_millis(ack.seen_at),
        epoch: ack.generation.epoch,
        counter: ack.generation.counter,
        instance: ack.instance.map(|instance| avouch_text::hex::encode(&instance)).unwrap_or_default(),
        serial: ack.serial,
    }
}

/// The status for an invalid entry. It carries the whole error, since only the local administrator receives it.
pub(super) fn entry_error(error: &EntryError) -> Status {
    let text = avouch_text::with_causes(error).to_string();
    match error {
        EntryError::Store(_) => avouch_identity::status(Reason::StoreUnavailable, text, []),
        EntryError::NoRandomness | EntryError::Token(_) => {
            avouch_identity::status(Reason::NotReady, text, [])
        }
        _ => Status::invalid_argument(text),
    }
}
