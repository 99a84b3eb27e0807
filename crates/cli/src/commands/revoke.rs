//! `avouch revoke`: cuts an identity or a certificate off, and reports who refuses it as they say so.
//!
//! The revocation is durable when the issuer answers. All that follows only watches: no failure and no interrupt of it takes
//! the revocation back, and each says so.

mod acknowledgements;
mod aftermath;
mod event;
mod subject;

pub(crate) use subject::{Remark, Revocation, Subject};

use super::audit::too_old;
use super::exit_code;
use super::proto::{duration_message, time};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use crate::sources::Sources;
use acknowledgements::Progress;
use aftermath::{Aftermath, Cut};
use avouch_api::admin::v1::{
    RevokeRequest, RevokeResponse, UndoRevocationRequest, WatchAcknowledgementsRequest,
    WatchAcknowledgementsResponse,
};
use avouch_fleet::{AdminClient, AdminSocket, Fleet, read_revocation};
use event::{Event, Hit};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

/// The timeout for asking the processes about the revoked identity: they are asked all at once, and have three seconds each.
const ASKING: Duration = Duration::from_secs(10);

/// Revokes, then waits for at most `timeout` until everybody refuses it.
pub(crate) async fn run(
    sources: &Sources,
    revocation: &Revocation,
    timeout: Duration,
    output: Output,
) -> Result<ExitCode, CliError> {
    let mut admin = sources.admin.connect().await?;
    let request = RevokeRequest {
        subject: revocation.subject.to_string(),
        reason: revocation.reason.to_string(),
        duration: revocation.duration.map(duration_message).transpose()?,
        dry_run: revocation.dry_run,
        force: revocation.force,
    };
    let answer = admin.revoke(request).await.map_err(|status| refused(&status, revocation))?.into_inner();
    let cut = cut(&answer, &revocation.subject)?;
    let hit = Hit::read(answer, revocation.dry_run)?;
    let (id, generation) = (hit.revocation.id, (hit.revocation.epoch, hit.revocation.counter));
    emit(output, &Event::Hit(Box::new(hit)))?;
    if revocation.dry_run {
        if let Some(fleet) = ask(sources, &cut).await {
            emit(output, &Event::BlastRadius(Aftermath::of(&fleet, &cut).radius))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // From here on the revocation stands, so that no error ends the report without saying so.
    let watching = async {
        let everybody = watch(&mut admin, generation, &cut, timeout, output).await?;
        let none_since = look_after(sources, &cut, output).await?;
        Ok::<_, CliError>(everybody && none_since)
    };
    // An interrupt is looked for first: who presses Ctrl-C is not to wait for another message.
    let complete = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            emit(output, &Event::Interrupted { revocation_id: id })?;
            return Ok(ExitCode::FAILURE);
        }
        complete = watching => complete?,
    };
    emit(output, &Event::Stands { revocation_id: id, complete })?;
    Ok(exit_code(complete))
}

fn cut(answer: &RevokeResponse, subject: &Subject) -> Result<Cut, CliError> {
    let revocation = answer.revocation.clone().unwrap_or_default();
    let serials = answer.certificates.iter().chain(&answer.forked).map(|one| one.serial.clone());
    Ok(Cut {
        spiffe_id: revocation.spiffe_id,
        serials: match subject {
            Subject::Identity(_) => None,
            Subject::Serial(serial) => Some(serials.chain([serial.clone()]).collect()),
        },
        since: time(revocation.created_at.as_ref())?,
    })
}

/// Waits until everybody refuses it, and says whether everybody does.
async fn watch(
    admin: &mut AdminClient,
    (epoch, counter): (u32, u32),
    cut: &Cut,
    timeout: Duration,
    output: Output,
) -> Result<bool, CliError> {
    let end = Instant::now() + timeout;
    let mut progress = Progress::new(cut.since, cut.operator());
    let request = WatchAcknowledgementsRequest { epoch, counter };
    match tokio::time::timeout_at(end, admin.watch_acknowledgements(request)).await {
        Ok(Ok(messages)) => {
            let mut messages = messages.into_inner();
            while let Some(message) = next(&mut messages, end).await {
                if let Some(heard) = progress.take(message)? {
                    emit(output, &Event::Acknowledged(heard))?;
                }
                if progress.is_complete() {
                    break;
                }
            }
        }
        Ok(Err(status)) => unwatched(status.message()),
        Err(_elapsed) => unwatched("it does not answer in time"),
    }
    emit(output, &Event::Summary(progress.summary()))?;
    Ok(progress.is_complete())
}

fn unwatched(problem: &str) {
    output::warn(&format!("the issuer does not say who refuses it: {}", avouch_text::shorten(problem)));
}

/// The next message; none once the time is over or the issuer says no more.
async fn next(
    messages: &mut Streaming<WatchAcknowledgementsResponse>,
    end: Instant,
) -> Option<WatchAcknowledgementsResponse> {
    match tokio::time::timeout_at(end, messages.message()).await {
        Ok(Ok(message)) => message,
        Ok(Err(status)) => {
            unwatched(status.message());
            None
        }
        Err(_elapsed) => None,
    }
}

/// Reports the blast radius, and says whether nobody has accepted a connection since.
async fn look_after(sources: &Sources, cut: &Cut, output: Output) -> Result<bool, CliError> {
    let Some(fleet) = ask(sources, cut).await else { return Ok(true) };
    let Aftermath { radius, since } = Aftermath::of(&fleet, cut);
    emit(output, &Event::BlastRadius(radius))?;
    let none = since.accepted.is_empty();
    emit(output, &Event::Since(since))?;
    Ok(none)
}

/// The answers of all processes about the revoked identity. Best effort: whoever is silent is named in them.
async fn ask(sources: &Sources, cut: &Cut) -> Option<Fleet> {
    let asking = async { Some(sources.reach().await.ok()?.ask_about(&cut.about()).await) };
    let fleet = tokio::time::timeout(ASKING, asking).await.ok().flatten();
    if fleet.is_none() {
        output::warn("nobody could be asked whom it called and who called it");
    }
    fleet
}

fn emit(output: Output, event: &Event) -> Result<(), CliError> {
    match output {
        Output::Json => output::json_line(&serde_json::to_value(event).map_err(std::io::Error::from)?)?,
        Output::Text => output::text(&event.to_text())?,
    }
    Ok(())
}

fn refused(status: &Status, revocation: &Revocation) -> CliError {
    let subject = &revocation.subject;
    let help = match status.code() {
        Code::FailedPrecondition => Some(format!(
            "see what it would hit with `avouch revoke {subject} --dry-run`; if that is meant, say it again with --force"
        )),
        Code::NotFound => Some(match subject {
            Subject::Identity(_) => "list what is registered with `avouch entry list`".to_owned(),
            Subject::Serial(_) => "list what was issued with `avouch cert list --all`".to_owned(),
        }),
        Code::AlreadyExists => Some(format!("look at it with `avouch revocations {subject}`")),
        Code::ResourceExhausted => {
            Some("see what is in force with `avouch revocations`, and undo what nobody needs".to_owned())
        }
        _ => too_old(status),
    };
    CliError::refused(status, help)
}

/// Takes a revocation back.
pub(crate) async fn undo(
    admin: &AdminSocket,
    id: i64,
    reason: &Remark,
    output: Output,
) -> Result<ExitCode, CliError> {
    let request = UndoRevocationRequest { id, reason: reason.to_string() };
    let answer = admin.connect().await?.undo_revocation(request).await.map_err(|status| {
        let help = match status.code() {
            Code::NotFound | Code::FailedPrecondition => {
                Some("list them with `avouch revocations --all`".to_owned())
            }
            _ => too_old(&status),
        };
        CliError::refused(&status, help)
    })?;
    let undone = read_revocation(answer.into_inner().revocation.unwrap_or_default());
    let hint = || Text::Hint(format!("{} may be used again as far as its dates allow", undone.subject));
    output.show(|| &undone, hint)?;
    Ok(ExitCode::SUCCESS)
}
