//! `avouch cert list`: what the issuer has issued.

use crate::commands::now;
use crate::commands::proto::{json_time, time};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use avouch_api::admin::v1::{Certificate, ListCertificatesRequest};
use avouch_fleet::{AdminSocket, list_certificates};
use avouch_spiffe::SpiffeId;
use avouch_time::relative;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::SystemTime;

/// Lists certificates, newest first: with `all` also expired ones, with an `id` only that identity's.
pub(crate) async fn run(
    admin: &AdminSocket,
    all: bool,
    id: Option<&SpiffeId>,
    output: Output,
) -> Result<ExitCode, CliError> {
    let spiffe_id = id.map(ToString::to_string).unwrap_or_default();
    let request = ListCertificatesRequest { include_expired: all, spiffe_id, ..Default::default() };
    let issued = list_certificates(&mut admin.connect().await?, request, usize::MAX).await;
    let issued = issued.map_err(|status| CliError::refused(&status, None))?;
    let issued: Vec<_> = issued.into_iter().map(Issued::read).collect::<Result<_, _>>()?;
    let table = || {
        if issued.is_empty() {
            return Text::Hint("no live certificate; --all shows those that have expired".to_owned());
        }
        let rows: Vec<_> = issued.iter().map(Issued::columns).collect();
        output::table(["OWNER", "SERIAL", "EXPIRES", "LAST SEEN", "ORIGIN", "PARENT", "REVOKED"], &rows)
            .into()
    };
    output.show(|| issued.iter().map(Issued::to_json).collect::<Value>(), table)?;
    Ok(ExitCode::SUCCESS)
}

/// A certificate as the issuer has it.
pub(in crate::commands) struct Issued {
    certificate: Certificate,
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
    last_seen: Option<SystemTime>,
}

impl Issued {
    pub(in crate::commands) fn read(certificate: Certificate) -> Result<Self, CliError> {
        Ok(Self {
            not_before: time(certificate.not_before.as_ref())?,
            not_after: time(certificate.not_after.as_ref())?,
            last_seen: time(certificate.last_seen.as_ref())?,
            certificate,
        })
    }

    fn columns(&self) -> [String; 7] {
        let shown = |at: Option<_>| at.map_or("never".to_owned(), |at| relative(at, now()));
        let Certificate { spiffe_id, serial, origin, parent, revocation_id, .. } = &self.certificate;
        let revoked = if *revocation_id == 0 { String::new() } else { format!("by {revocation_id}") };
        [
            spiffe_id.clone(),
            serial.clone(),
            shown(self.not_after),
            shown(self.last_seen),
            origin.clone(),
            parent.clone(),
            revoked,
        ]
    }

    pub(in crate::commands) fn to_json(&self) -> Value {
        json!({
            "spiffe_id": self.certificate.spiffe_id,
            "serial": self.certificate.serial,
            "not_before": json_time(self.not_before),
            "not_after": json_time(self.not_after),
            "origin": self.certificate.origin,
            "last_seen": json_time(self.last_seen),
            "parent": self.certificate.parent,
            "revocation_id": self.certificate.revocation_id,
        })
    }
}
