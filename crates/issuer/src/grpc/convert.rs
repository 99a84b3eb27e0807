//! Conversions between the protobuf types and the issuer's own.

use crate::entries::EntryError;
use crate::issuance::Grant;
use crate::store::{CertificateRecord, Entry, NewEntry, TrustAck};
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
        ..admin::Entry::default()
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
