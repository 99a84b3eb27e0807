//! `avouch cert`: look into a certificate; list what was issued.

use super::{json_time, now, time};
use crate::args::{Arguments, CertCommand, CertInspect, CertList};
use crate::error::CliError;
use crate::inspect::{self, Inspection};
use crate::{client, output, timespan};
use avouch_api::admin::v1::{Certificate, ListCertificatesRequest};
use serde_json::{Value, json};
use std::io::Read;
use std::process::ExitCode;

/// Far more than any chain; keeps `inspect` from reading a disk image into memory.
const LIMIT: u64 = 4 * 1024 * 1024;

pub(crate) async fn run(arguments: &Arguments, command: &CertCommand) -> Result<ExitCode, CliError> {
    match command {
        CertCommand::Inspect(file) => inspect_file(arguments, file),
        CertCommand::List(filter) => list(arguments, filter).await,
    }
}

fn inspect_file(arguments: &Arguments, inspect: &CertInspect) -> Result<ExitCode, CliError> {
    let path = &inspect.file;
    let read_error = |source| CliError::Read { path: path.clone(), source };
    let mut content = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(LIMIT).read_to_end(&mut content).map_err(read_error)?;
    } else {
        let file = std::fs::File::open(path).map_err(read_error)?;
        file.take(LIMIT).read_to_end(&mut content).map_err(read_error)?;
    }
    let certificates = inspect::certificates(&content);
    if certificates.is_empty() {
        return Err(CliError::NoCertificate(path.clone()));
    }
    let found: Vec<Inspection> = certificates.iter().map(|der| inspect::inspect(der)).collect();
    if arguments.json {
        output::json(&Value::from(found.iter().map(|one| one.to_json(now())).collect::<Vec<_>>()))?;
    } else {
        let of = found.len();
        let parts: Vec<_> =
            found.iter().enumerate().map(|(at, one)| one.to_text(at + 1, of, now())).collect();
        output::text(&parts.join("\n"))?;
    }
    Ok(if found.iter().all(Inspection::passes) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(arguments: &Arguments, filter: &CertList) -> Result<ExitCode, CliError> {
    let request = ListCertificatesRequest {
        include_expired: filter.all,
        spiffe_id: filter.id.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let answer = client::connect(arguments).await?.list_certificates(request).await;
    let found = answer.map_err(|status| CliError::refused(&status, None))?.into_inner().certificates;
    if arguments.json {
        let all: Result<Vec<Value>, _> = found.iter().map(to_json).collect();
        output::json(&Value::from(all?))?;
    } else if found.is_empty() {
        output::hint("no live certificate; --all shows those that have expired");
    } else {
        let rows: Result<Vec<_>, _> = found.iter().map(row).collect();
        output::text(&output::table(["OWNER", "SERIAL", "EXPIRES", "LAST SEEN", "ORIGIN"], &rows?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(certificate: &Certificate) -> Result<[String; 5], CliError> {
    let shown = |at: Option<_>| at.map_or("never".to_owned(), |at| timespan::relative(at, now()));
    Ok([
        certificate.spiffe_id.clone(),
        certificate.serial.clone(),
        shown(time(certificate.not_after.as_ref())?),
        shown(time(certificate.last_seen.as_ref())?),
        certificate.origin.clone(),
    ])
}

fn to_json(certificate: &Certificate) -> Result<Value, CliError> {
    Ok(json!({
        "spiffe_id": certificate.spiffe_id,
        "serial": certificate.serial,
        "not_before": json_time(time(certificate.not_before.as_ref())?),
        "not_after": json_time(time(certificate.not_after.as_ref())?),
        "origin": certificate.origin,
        "last_seen": json_time(time(certificate.last_seen.as_ref())?),
    }))
}
