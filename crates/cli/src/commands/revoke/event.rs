//! The events of a revocation, for people and for programs: each as it happens.

use super::acknowledgements::{Heard, Missing, Summary};
use super::aftermath::{Radius, Since};
use crate::commands::cert::list::Issued;
use crate::commands::now;
use crate::error::CliError;
use avouch_api::admin::v1::{Certificate, RevokeResponse};
use avouch_fleet::{RevocationRecord, read_revocation};
use avouch_text::{LONGEST_TEXT, shorten, shorten_to};
use avouch_time::{parse_rfc3339, relative};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// The most lines that are shown to people of one list.
const LISTED: usize = 20;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// What it hits: in a dry run what it would.
    #[serde(rename = "revoked")]
    Hit(Box<Hit>),
    /// Processes that have just said that they refuse it.
    Acknowledged(Heard),
    /// Who refuses it, once everybody does or the time is over.
    Summary(Summary),
    BlastRadius(Radius),
    /// Connections since.
    #[serde(rename = "connections")]
    Since(Since),
    Interrupted {
        revocation_id: i64,
    },
    /// The end of the report.
    #[serde(rename = "done")]
    Stands {
        revocation_id: i64,
        /// Whether everybody refuses it, and nobody has accepted it since.
        complete: bool,
    },
}

/// The revocation, and what it hits.
#[derive(Debug, Serialize)]
pub(super) struct Hit {
    dry_run: bool,
    pub(super) revocation: RevocationRecord,
    certificates: Vec<Value>,
    forked: Vec<Value>,
    live_identities: u64,
    hit_identities: u64,
    #[serde(skip)]
    shown: [Vec<String>; 2],
}

impl Hit {
    pub(super) fn read(answer: RevokeResponse, dry_run: bool) -> Result<Self, CliError> {
        let of = |found: &[Certificate]| -> Result<Vec<Value>, CliError> {
            found.iter().map(|one| Ok(Issued::read(one.clone())?.to_json())).collect()
        };
        Ok(Self {
            dry_run,
            certificates: of(&answer.certificates)?,
            forked: of(&answer.forked)?,
            shown: [certificates(&answer.certificates), certificates(&answer.forked)],
            revocation: read_revocation(answer.revocation.unwrap_or_default()),
            live_identities: answer.live_identities,
            hit_identities: answer.hit_identities,
        })
    }

    fn to_text(&self) -> String {
        let RevocationRecord { id, subject, actor, epoch, counter, expires_at, .. } = &self.revocation;
        let (subject, actor) = (shorten(subject), shorten(actor));
        let until = match parse_rfc3339(expires_at) {
            Some(at) => format!(", ends {}", relative(at, now())),
            None => String::new(),
        };
        let mut text = if self.dry_run {
            format!("would revoke {subject}; nothing was changed\n")
        } else {
            format!("revoked {subject}: revocation {id} by {actor}, generation {epoch}.{counter}{until}\n")
        };
        let [certificates, forked] = &self.shown;
        let _ = writeln!(
            text,
            "  hits {}; {} of {} live identities lose every certificate",
            counted(certificates.len(), "live certificate"),
            self.hit_identities,
            self.live_identities
        );
        list(&mut text, certificates);
        if !forked.is_empty() {
            text.push_str("  and alone, since a fork has shown that the key is copied:\n");
            list(&mut text, forked);
        }
        text
    }
}

fn certificates(found: &[Certificate]) -> Vec<String> {
    let line = |one: &Certificate| {
        let end = one.not_after.and_then(|at| std::time::SystemTime::try_from(at).ok());
        let end = end.map(|end| format!(", ends {}", relative(end, now()))).unwrap_or_default();
        let (serial, id, origin) = (shorten(&one.serial), shorten(&one.spiffe_id), shorten(&one.origin));
        format!("{serial}  {id}  ({origin}{end})")
    };
    found.iter().map(line).collect()
}

fn list(text: &mut String, lines: &[String]) {
    for line in lines.iter().take(LISTED) {
        let _ = writeln!(text, "    {line}");
    }
    if lines.len() > LISTED {
        let _ = writeln!(text, "    and {} more, which --json lists", lines.len() - LISTED);
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

impl Event {
    /// The lines for people.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Hit(hit) => hit.to_text(),
            Self::Acknowledged(Heard { processes, acknowledged, total }) => {
                let last = processes.iter().max_by_key(|process| process.after_millis);
                let last =
                    last.map(|last| format!(": {} after {} ms", shorten(&last.spiffe_id), last.after_millis));
                format!("  {acknowledged} of {total} refuse it{}\n", last.unwrap_or_default())
            }
            Self::Summary(summary) => summary_text(summary),
            Self::BlastRadius(radius) => radius_text(radius),
            Self::Since(since) => since_text(since),
            Self::Interrupted { revocation_id } => format!(
                "interrupted: the revocation stands; take it back with `avouch revoke --undo {revocation_id}`\n"
            ),
            Self::Stands { revocation_id, complete } => {
                let more =
                    if *complete { "" } else { "; see who is behind with `avouch check --only AV-304`" };
                format!("take it back with `avouch revoke --undo {revocation_id}`{more}\n")
            }
        }
    }
}

fn summary_text(summary: &Summary) -> String {
    let Summary { acknowledged, total, latency, missing, over, .. } = summary;
    let mut text = format!("{acknowledged} of {total} processes refuse it");
    if let Some(latency) = latency {
        let _ = write!(
            text,
            " (p50 {} ms, p99 {} ms, max {} ms after the revocation was durable)",
            latency.p50_millis, latency.p99_millis, latency.max_millis
        );
    }
    text.push('\n');
    let lines: Vec<_> = missing.iter().map(Missing::to_text).collect();
    list(&mut text, &lines);
    if *over > 0 {
        let runs = counted(*over, "run");
        let _ = writeln!(text, "  not counted: {runs} of this program as the operator, which accept nobody");
    }
    text
}

fn radius_text(radius: &Radius) -> String {
    let mut text = String::new();
    for (head, parties) in [("it called", &radius.called), ("called by", &radius.callers)] {
        if parties.is_empty() {
            let _ = writeln!(text, "{head}: nobody, as far as anybody who answered knows");
            continue;
        }
        let _ = writeln!(text, "{head}:");
        let lines: Vec<_> = parties.iter().map(|party| party.to_text()).collect();
        list(&mut text, &lines);
    }
    silent(&mut text, &radius.silent);
    text
}

fn since_text(since: &Since) -> String {
    let mut text = format!("closed: {}\n", counted(since.closed, "connection"));
    let asked = counted(since.asked, "process").replace("processs", "processes");
    match since.accepted.as_slice() {
        [] if since.asked == 0 => text.push_str("accepted since: not known, nobody could be asked\n"),
        [] => {
            let _ = writeln!(text, "accepted since: none ({asked} asked)");
        }
        found => {
            let _ = writeln!(text, "accepted since, and still open:");
            list(&mut text, &found.iter().map(|one| one.to_text()).collect::<Vec<_>>());
        }
    }
    if !since.ended.is_empty() {
        let count = counted(since.ended.len(), "connection");
        let _ = writeln!(text, "  {count} accepted before its server had heard of it, and ended when it had");
    }
    text
}

fn silent(text: &mut String, silent: &[String]) {
    if !silent.is_empty() {
        let _ = writeln!(text, "not asked:");
        list(text, &silent.iter().map(|line| shorten_to(line, LONGEST_TEXT)).collect::<Vec<_>>());
    }
}
