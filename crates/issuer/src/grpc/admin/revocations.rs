//! Revocations, forks and the audit log, for the administrator.

use super::{AdminService, by, unavailable};
use crate::audit;
use crate::grpc::convert;
use crate::grpc::pages::{Key, Pages};
use crate::store::{By, RevocationFilter, Revoke, RevokeOutcome, Subject};
use avouch_api::admin::v1 as admin;
use avouch_spiffe::SpiffeId;
use avouch_spiffe::trust_state::RevocationError;
use avouch_text::with_causes;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

/// The longest serial number, in hexadecimal digits (RFC 5280 §4.1.2.2: 20 bytes).
const LONGEST_SERIAL: usize = 40;

impl AdminService {
    pub(super) async fn make_revocation(
        &self,
        request: Request<admin::RevokeRequest>,
    ) -> Result<Response<admin::RevokeResponse>, Status> {
        let now = self.issuance.clock.now();
        let by = by(&request, now);
        let request = request.into_inner();
        let subject = self.subject(&request.subject)?;
        let life = convert::span("duration", request.duration)?;
        if life.is_some() && matches!(subject, Subject::Serial(_)) {
            return Err(Status::invalid_argument(
                "a certificate is revoked until it ends; a duration is for identities alone",
            ));
        }
        if matches!(&subject, Subject::Identity(id) if *id == self.issuer_id) && !request.force {
            return Err(Status::failed_precondition(format!(
                "{} is this issuer itself: nobody would get or renew a certificate; --force does it all the same",
                self.issuer_id
            )));
        }
        let revoke = Revoke {
            subject,
            by: By { reason: reason(&request.reason)?, ..by },
            expires_at: life.map(|life| now.checked_add(life).ok_or_else(too_long)).transpose()?,
            longest_life: self.rules.profile.max_lifetime(),
            dry_run: request.dry_run,
            force: request.force,
        };
        let subject = revoke.subject.to_string();
        let outcome = self.issuance.store.revoke(revoke).await.map_err(|error| unavailable(&error))?;
        self.answer(outcome, &subject, now).await.map(Response::new)
    }

    async fn answer(
        &self,
        outcome: RevokeOutcome,
        subject: &str,
        now: SystemTime,
    ) -> Result<admin::RevokeResponse, Status> {
        match outcome {
            RevokeOutcome::Made(record, plan) => {
                audit::revocation("revoke", &record, &record.by);
                self.publish(record.id).await?;
                Ok(convert::revoked(Some(*record), subject, plan, now))
            }
            RevokeOutcome::Planned(plan) => Ok(convert::revoked(None, subject, plan, now)),
            RevokeOutcome::Already(record) => Ok(admin::RevokeResponse {
                revocation: Some(convert::revocation(*record)),
                ..Default::default()
            }),
            RevokeOutcome::NotOnRecord => Err(Status::not_found(format!(
                "{subject} is not on record here; `avouch cert list` names those that are"
            ))),
            RevokeOutcome::NeedsForce(plan) => Err(Status::failed_precondition(format!(
                "{subject}: {} of {} live identities would lose every certificate, which is more than half; --force does it all \
                 the same",
                plan.hit_identities, plan.live_identities
            ))),
            RevokeOutcome::TooMany { count } => {
                Err(Status::resource_exhausted(RevocationError::TooMany { count }.to_string()))
            }
        }
    }

    /// Publishes what is durable already.
    async fn publish(&self, id: i64) -> Result<(), Status> {
        self.issuance.trust.refresh().await.map_err(|error| {
            let text = format!(
                "revocation {id} is on record, and could not be published yet ({}); it will be with the next change, or when \
                 the issuer starts again",
                with_causes(&error)
            );
            avouch_identity::status(avouch_spiffe::Reason::StoreUnavailable, text, [])
        })
    }

    pub(super) async fn undo(
        &self,
        request: Request<admin::UndoRevocationRequest>,
    ) -> Result<Response<admin::UndoRevocationResponse>, Status> {
        let by = by(&request, self.issuance.clock.now());
        let request = request.into_inner();
        let by = By { reason: reason(&request.reason)?, ..by };
        let undone = self.issuance.store.undo_revocation(request.id, by.clone()).await;
        let undone = undone.map_err(|error| unavailable(&error))?.ok_or_else(|| {
            Status::not_found(format!(
                "there is no revocation {} that has not been undone; `avouch revocations --all` lists them",
                request.id
            ))
        })?;
        audit::revocation("undo-revocation", &undone, &by);
        self.publish(undone.id).await?;
        Ok(Response::new(admin::UndoRevocationResponse { revocation: Some(convert::revocation(undone)) }))
    }

    pub(super) async fn revocations(
        &self,
        request: admin::ListRevocationsRequest,
    ) -> Result<Response<admin::ListRevocationsResponse>, Status> {
        let about = match request.about.as_str() {
            about if about.is_empty() || about.starts_with("spiffe://") || about.starts_with("serial:") => {
                about.to_owned()
            }
            serial => format!("serial:{serial}"),
        };
        let which = if request.include_ended { "all" } else { "in force" };
        let pages = Pages::new("revocations", &self.issuer_id, &[which, &about], request.page_size)?;
        let page = pages.page(&request.page_token, number)?;
        let in_force_at = (!request.include_ended).then(|| self.issuance.clock.now());
        let filter = RevocationFilter { in_force_at, about };
        let found = self.issuance.store.revocations(filter, page).await;
        let mut found = found.map_err(|error| unavailable(&error))?;
        let next_page_token = pages.cut(&mut found, |last| vec![last.id.to_string()]);
        Ok(Response::new(admin::ListRevocationsResponse {
            revocations: found.into_iter().map(convert::revocation).collect(),
            next_page_token,
            lost_changes: self.issuance.trust.lost_changes(),
        }))
    }

    pub(super) async fn forks(&self, ended: bool) -> Result<Response<admin::ListForksResponse>, Status> {
        let found = self.issuance.store.forks(self.issuance.clock.now(), ended).await;
        let forks = found.map_err(|error| unavailable(&error))?.into_iter().map(convert::fork).collect();
        Ok(Response::new(admin::ListForksResponse { forks }))
    }

    pub(super) async fn audit(
        &self,
        request: admin::ListAuditRequest,
    ) -> Result<Response<admin::ListAuditResponse>, Status> {
        let since = request.since.map_or(Ok(SystemTime::UNIX_EPOCH), TryInto::try_into);
        let since = since.map_err(|_| Status::invalid_argument("since is no time"))?;
        let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let pages = Pages::new("audit", &self.issuer_id, &[&seconds], request.page_size)?;
        let page = pages.page(&request.page_token, number)?;
        let found = self.issuance.store.audit(since, page).await;
        let mut found = found.map_err(|error| unavailable(&error))?;
        let next_page_token = pages.cut(&mut found, |last| vec![last.id.to_string()]);
        let records = found.into_iter().map(convert::audit).collect();
        Ok(Response::new(admin::ListAuditResponse { records, next_page_token }))
    }

    fn subject(&self, text: &str) -> Result<Subject, Status> {
        if let Some(serial) = text.strip_prefix("serial:") {
            let is_hex = serial.bytes().all(|byte| byte.is_ascii_hexdigit());
            if serial.is_empty() || serial.len() > LONGEST_SERIAL || !is_hex {
                return Err(Status::invalid_argument("serial: is followed by 1 to 40 hexadecimal digits"));
            }
            return Ok(Subject::Serial(serial.to_ascii_lowercase()));
        }
        let id: SpiffeId = convert::spiffe_id(text)?;
        if id.trust_domain() != self.issuer_id.trust_domain() {
            return Err(Status::invalid_argument(format!(
                "{id} is not of the trust domain {}: its own issuer revokes it",
                self.issuer_id.trust_domain()
            )));
        }
        Ok(Subject::Identity(id))
    }
}

fn too_long() -> Status {
    Status::invalid_argument("duration is too long")
}

/// The key of a row that is numbered.
fn number(key: Key) -> Option<i64> {
    <[String; 1]>::try_from(key).ok()?.first()?.parse().ok()
}

/// An operator's words, which end up on other operators' terminals.
fn reason(text: &str) -> Result<String, Status> {
    avouch_text::check_remark(text)
        .map_err(|error| Status::invalid_argument(format!("the reason: {error}")))?;
    Ok(text.to_owned())
}
