//! `avouch cert list`: what the issuer has issued.

use crate::args::{Arguments, CertList};
use crate::commands::{json_time, now, time};
use crate::error::CliError;
use crate::{client, output, timespan};
use avouch_api::admin::v1::{Certificate, ListCertificatesRequest};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) async fn run(arguments: &Arguments, filter: &CertList) -> Result<ExitCode, CliError> {
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
