//! `avouch entry`: which identities the issuer may give out.

use super::now;
use super::proto::{duration, duration_message, json_time, time};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use avouch_api::admin::v1::{CreateEntryRequest, DeleteEntryRequest, Entry, GetEntryRequest};
use avouch_fleet::{AdminSocket, list_entries};
use avouch_spiffe::SpiffeId;
use avouch_time::duration::rounded;
use avouch_time::relative;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};

/// What an entry says of forks if they revoke.
const REVOKE: &str = "revoke";

/// An identity to register; what is absent is the issuer's default.
#[derive(Debug, Clone)]
pub(crate) struct NewEntry {
    pub(crate) spiffe_id: SpiffeId,
    /// The lifetime of its certificates.
    pub(crate) svid_ttl: Option<Duration>,
    /// The DNS names that its certificates carry.
    pub(crate) dns_names: Vec<String>,
    /// The time after expiry in which it may recover.
    pub(crate) recovery_window: Option<Duration>,
    /// Whether a fork revokes its certificates, rather than to be reported only.
    pub(crate) revoke_on_fork: bool,
    /// How often it may recover; absent: as often as it needs to.
    pub(crate) recovery_limit: Option<u32>,
}

impl NewEntry {
    /// The call that registers it.
    pub(super) fn request(&self) -> Result<CreateEntryRequest, CliError> {
        let entry = Entry {
            spiffe_id: self.spiffe_id.to_string(),
            svid_ttl: self.svid_ttl.map(duration_message).transpose()?,
            dns_names: self.dns_names.clone(),
            recovery_window: self.recovery_window.map(duration_message).transpose()?,
            created_at: None,
            // Left out where it is the default, so that an older issuer is not asked for what it does not know.
            on_fork: if self.revoke_on_fork { REVOKE.to_owned() } else { String::new() },
            recovery_limit: self.recovery_limit,
        };
        Ok(CreateEntryRequest { entry: Some(entry) })
    }
}

pub(crate) async fn add(admin: &AdminSocket, new: &NewEntry, output: Output) -> Result<ExitCode, CliError> {
    let id = &new.spiffe_id;
    let answer = admin.connect().await?.create_entry(new.request()?).await.map_err(|status| {
        let help = (status.code() == Code::AlreadyExists).then(|| {
            format!(
                "look at it with `avouch entry show {id}`; to change it, remove it first with `avouch entry rm {id}`"
            )
        });
        CliError::refused(&status, help)
    })?;
    let entry = Registered::read(answer.into_inner().entry.unwrap_or_default())?;
    let hint = || Text::Hint(format!("registered; let it join with `avouch token create {id}`"));
    output.show(|| entry.to_json(), hint)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn list(admin: &AdminSocket, output: Output) -> Result<ExitCode, CliError> {
    let entries = list_entries(&mut admin.connect().await?).await;
    let entries = entries.map_err(|status| CliError::refused(&status, None))?;
    let entries: Vec<_> = entries.into_iter().map(Registered::read).collect::<Result<_, _>>()?;
    let table = || {
        if entries.is_empty() {
            let hint = "no identity is registered; add one with `avouch entry add SPIFFE_ID`";
            return Text::Hint(hint.to_owned());
        }
        let rows: Vec<_> = entries.iter().map(Registered::columns).collect();
        output::table(["SPIFFE ID", "TTL", "RECOVERY", "CREATED", "DNS NAMES"], &rows).into()
    };
    output.show(|| entries.iter().map(Registered::to_json).collect::<Value>(), table)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn show(admin: &AdminSocket, id: &SpiffeId, output: Output) -> Result<ExitCode, CliError> {
    let request = GetEntryRequest { spiffe_id: id.to_string() };
    let answer = admin.connect().await?.get_entry(request).await.map_err(|status| not_registered(&status))?;
    let entry = Registered::read(answer.into_inner().entry.unwrap_or_default())?;
    let fields = || {
        let names = ["SPIFFE ID", "TTL", "recovery", "created", "DNS names"];
        let mut rows: Vec<_> = names.into_iter().zip(entry.columns()).collect();
        rows.push(("on fork", entry.on_fork.clone()));
        rows.push(("recovers", entry.recovery_limit.map_or("as often as needed".to_owned(), times)));
        output::fields(0, &rows)
    };
    output.show(|| entry.to_json(), fields)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn remove(admin: &AdminSocket, id: &SpiffeId) -> Result<ExitCode, CliError> {
    let request = DeleteEntryRequest { spiffe_id: id.to_string() };
    admin.connect().await?.delete_entry(request).await.map_err(|status| not_registered(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn times(limit: u32) -> String {
    format!("at most {limit} times")
}

fn not_registered(status: &Status) -> CliError {
    let help = (status.code() == Code::NotFound)
        .then(|| "list what is registered with `avouch entry list`".to_owned());
    CliError::refused(status, help)
}

/// An entry as the issuer has it.
pub(super) struct Registered {
    spiffe_id: String,
    pub(super) svid_ttl: Option<Duration>,
    recovery_window: Option<Duration>,
    pub(super) dns_names: Vec<String>,
    created_at: Option<SystemTime>,
    on_fork: String,
    recovery_limit: Option<u32>,
}

impl Registered {
    pub(super) fn read(entry: Entry) -> Result<Self, CliError> {
        Ok(Self {
            svid_ttl: duration(entry.svid_ttl.as_ref())?,
            recovery_window: duration(entry.recovery_window.as_ref())?,
            created_at: time(entry.created_at.as_ref())?,
            spiffe_id: entry.spiffe_id,
            dns_names: entry.dns_names,
            on_fork: if entry.on_fork.is_empty() { "alert".to_owned() } else { entry.on_fork },
            recovery_limit: entry.recovery_limit,
        })
    }

    fn columns(&self) -> [String; 5] {
        let shown = |duration: Option<Duration>| duration.map_or("default".to_owned(), rounded);
        [
            self.spiffe_id.clone(),
            shown(self.svid_ttl),
            shown(self.recovery_window),
            self.created_at.map(|at| relative(at, now())).unwrap_or_default(),
            self.dns_names.join(" "),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "spiffe_id": self.spiffe_id,
            "svid_ttl_seconds": self.svid_ttl.map(|ttl| ttl.as_secs()),
            "recovery_window_seconds": self.recovery_window.map(|window| window.as_secs()),
            "dns_names": self.dns_names,
            "created_at": json_time(self.created_at),
            "on_fork": self.on_fork,
            "recovery_limit": self.recovery_limit,
        })
    }
}
