//! `avouch entry`: which identities the issuer may give out.

use super::{json_time, now, proto_duration, span, time};
use crate::args::{Arguments, EntryAdd, EntryCommand, OneEntry};
use crate::error::CliError;
use crate::{client, output, timespan};
use avouch_api::admin::v1::{
    CreateEntryRequest, DeleteEntryRequest, Entry, GetEntryRequest, ListEntriesRequest,
};
use serde_json::{Value, json};
use std::process::ExitCode;
use tonic::{Code, Status};

pub(crate) async fn run(arguments: &Arguments, command: &EntryCommand) -> Result<ExitCode, CliError> {
    match command {
        EntryCommand::Add(entry) => add(arguments, entry).await,
        EntryCommand::List => list(arguments).await,
        EntryCommand::Show(entry) => show(arguments, entry).await,
        EntryCommand::Rm(entry) => rm(arguments, entry).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn add(arguments: &Arguments, entry: &EntryAdd) -> Result<(), CliError> {
    let id = entry.spiffe_id.as_str();
    let request = CreateEntryRequest {
        entry: Some(Entry {
            spiffe_id: id.to_owned(),
            svid_ttl: entry.ttl.map(proto_duration).transpose()?,
            dns_names: entry.dns_names.clone(),
            recovery_window: entry.recovery_window.map(proto_duration).transpose()?,
            created_at: None,
        }),
    };
    let answer = client::connect(arguments).await?.create_entry(request).await.map_err(|status| {
        let help = match status.code() {
            Code::AlreadyExists => Some(format!(
                "look at it with `avouch entry show {id}`; to change it, remove it first with `avouch entry rm {id}`"
            )),
            _ => None,
        };
        CliError::refused(&status, help)
    })?;
    if arguments.json {
        output::json(&to_json(&answer.into_inner().entry.unwrap_or_default())?)?;
    } else {
        output::hint(&format!("registered; let it join with `avouch token create {id}`"));
    }
    Ok(())
}

async fn list(arguments: &Arguments) -> Result<(), CliError> {
    let mut client = client::connect(arguments).await?;
    let answer = client.list_entries(ListEntriesRequest {}).await;
    let entries = answer.map_err(|status| CliError::refused(&status, None))?.into_inner().entries;
    if arguments.json {
        let all: Result<Vec<Value>, _> = entries.iter().map(to_json).collect();
        output::json(&Value::from(all?))?;
        return Ok(());
    }
    if entries.is_empty() {
        output::hint("no identity is registered; add one with `avouch entry add SPIFFE_ID`");
        return Ok(());
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in &entries {
        let [ttl, window, created] = columns(entry)?;
        rows.push([entry.spiffe_id.clone(), ttl, window, created, entry.dns_names.join(" ")]);
    }
    output::text(&output::table(["SPIFFE ID", "TTL", "RECOVERY", "CREATED", "DNS NAMES"], &rows))?;
    Ok(())
}

async fn show(arguments: &Arguments, entry: &OneEntry) -> Result<(), CliError> {
    let request = GetEntryRequest { spiffe_id: entry.spiffe_id.as_str().to_owned() };
    let mut client = client::connect(arguments).await?;
    let entry = client
        .get_entry(request)
        .await
        .map_err(|status| refused(&status))?
        .into_inner()
        .entry
        .unwrap_or_default();
    if arguments.json {
        output::json(&to_json(&entry)?)?;
        return Ok(());
    }
    let [ttl, window, created] = columns(&entry)?;
    output::text(&output::fields(
        0,
        &[
            ("SPIFFE ID", entry.spiffe_id),
            ("TTL", ttl),
            ("recovery", window),
            ("created", created),
            ("DNS names", entry.dns_names.join(" ")),
        ],
    ))?;
    Ok(())
}

async fn rm(arguments: &Arguments, entry: &OneEntry) -> Result<(), CliError> {
    let request = DeleteEntryRequest { spiffe_id: entry.spiffe_id.as_str().to_owned() };
    client::connect(arguments).await?.delete_entry(request).await.map_err(|status| refused(&status))?;
    Ok(())
}

fn refused(status: &Status) -> CliError {
    let help = (status.code() == Code::NotFound)
        .then(|| "list what is registered with `avouch entry list`".to_owned());
    CliError::refused(status, help)
}

fn columns(entry: &Entry) -> Result<[String; 3], CliError> {
    let shown = |span: Option<_>| span.map_or("default".to_owned(), timespan::display);
    let created = time(entry.created_at.as_ref())?;
    Ok([
        shown(span(entry.svid_ttl.as_ref())?),
        shown(span(entry.recovery_window.as_ref())?),
        created.map_or_else(String::new, |at| timespan::relative(at, now())),
    ])
}

fn to_json(entry: &Entry) -> Result<Value, CliError> {
    Ok(json!({
        "spiffe_id": entry.spiffe_id,
        "svid_ttl_seconds": span(entry.svid_ttl.as_ref())?.map(|span| span.as_secs()),
        "recovery_window_seconds": span(entry.recovery_window.as_ref())?.map(|span| span.as_secs()),
        "dns_names": entry.dns_names,
        "created_at": json_time(time(entry.created_at.as_ref())?),
    }))
}
