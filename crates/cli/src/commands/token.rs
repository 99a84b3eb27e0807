//! `avouch token`: what a workload shows at its first contact.

use super::{json_time, now, proto_duration, span, time};
use crate::args::{Arguments, TokenCommand, TokenCreate};
use crate::error::CliError;
use crate::{client, output, timespan};
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_api::admin::v1::{
    CreateEntryRequest, CreateTokenRequest, CreateTokenResponse, Entry, GetEntryRequest,
};
use avouch_files::{NewFile, Place};
use avouch_text::clean;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use tonic::Code;
use tonic::transport::Channel;
use zeroize::Zeroizing;

pub(crate) async fn run(arguments: &Arguments, command: &TokenCommand) -> Result<ExitCode, CliError> {
    match command {
        TokenCommand::Create(token) => create(arguments, token).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn create(arguments: &Arguments, wanted: &TokenCreate) -> Result<(), CliError> {
    // First of all: a token that cannot be handed over should not be made.
    let out = match wanted.out.as_deref() {
        Some(path) => Some((path, NewFile::secret(path).map_err(cannot_write(path))?)),
        None => None,
    };
    let mut client = client::connect_within(arguments, wanted.wait.unwrap_or_default()).await?;
    if wanted.register {
        register(&mut client, wanted).await?;
    }
    let answer = ask(&mut client, wanted).await?;
    match out {
        None => print(arguments, &answer),
        Some((path, file)) => {
            let line = Zeroizing::new(format!("{}\n", answer.token));
            file.keep(line.as_bytes(), Place::Replaced).map_err(cannot_write(path))?;
            say_where(arguments, path, &answer)
        }
    }
}

/// Registers the identity. Where it is registered it stays as it is; if that is not what was asked for, it is an error.
async fn register(client: &mut AdminClient<Channel>, wanted: &TokenCreate) -> Result<(), CliError> {
    let spiffe_id = wanted.spiffe_id.as_str().to_owned();
    let entry = Entry {
        spiffe_id: spiffe_id.clone(),
        svid_ttl: wanted.svid_ttl.map(proto_duration).transpose()?,
        dns_names: wanted.dns_names.clone(),
        ..Entry::default()
    };
    match client.create_entry(CreateEntryRequest { entry: Some(entry) }).await {
        Ok(_) => return Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => {}
        Err(status) => return Err(CliError::refused(&status, None)),
    }
    let found = client.get_entry(GetEntryRequest { spiffe_id }).await;
    let found =
        found.map_err(|status| CliError::refused(&status, None))?.into_inner().entry.unwrap_or_default();
    match difference(wanted, &found)? {
        None => Ok(()),
        Some((found, wanted_instead)) => {
            Err(CliError::RegisteredOtherwise { id: wanted.spiffe_id.clone(), found, wanted: wanted_instead })
        }
    }
}

/// What is registered and what was asked for, where they differ; what was not asked for may be anything.
fn difference(wanted: &TokenCreate, found: &Entry) -> Result<Option<(String, String)>, CliError> {
    let set = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    if !wanted.dns_names.is_empty() && set(&wanted.dns_names) != set(&found.dns_names) {
        let shown = |names: &[String]| match names.is_empty() {
            true => "no DNS names".to_owned(),
            false => format!("the DNS names {}", names.join(" ")),
        };
        return Ok(Some((shown(&found.dns_names), shown(&wanted.dns_names))));
    }
    let life = span(found.svid_ttl.as_ref())?;
    if wanted.svid_ttl.is_some() && wanted.svid_ttl != life {
        let shown = |life: Option<_>| {
            life.map_or("the issuer's life of certificates".to_owned(), |life| {
                format!("a life of certificates of {}", timespan::display(life))
            })
        };
        return Ok(Some((shown(life), shown(wanted.svid_ttl))));
    }
    Ok(None)
}

async fn ask(
    client: &mut AdminClient<Channel>,
    wanted: &TokenCreate,
) -> Result<CreateTokenResponse, CliError> {
    let id = wanted.spiffe_id.as_str();
    let request =
        CreateTokenRequest { spiffe_id: id.to_owned(), ttl: wanted.ttl.map(proto_duration).transpose()? };
    let answer = client.create_token(request).await.map_err(|status| {
        let help = (status.code() == Code::NotFound)
            .then(|| format!("register it first: avouch entry add {id}, or add --register"));
        CliError::refused(&status, help)
    })?;
    Ok(answer.into_inner())
}

fn print(arguments: &Arguments, answer: &CreateTokenResponse) -> Result<(), CliError> {
    let expires_at = time(answer.expires_at.as_ref())?;
    if arguments.json {
        output::json(&json!({ "token": answer.token, "expires_at": json_time(expires_at) }))?;
        return Ok(());
    }
    output::text(&format!("{}\n", clean(&answer.token)))?; // one line, whoever made it
    if let Some(expires_at) = expires_at {
        output::hint(&format!(
            "a secret, for one workload: set it as identity.issuer.join_token_file; it ends {}",
            timespan::relative(expires_at, now())
        ));
    }
    Ok(())
}

/// The token is in the file and nowhere else.
fn say_where(arguments: &Arguments, path: &Path, answer: &CreateTokenResponse) -> Result<(), CliError> {
    let expires_at = time(answer.expires_at.as_ref())?;
    if arguments.json {
        output::json(&json!({ "file": path, "expires_at": json_time(expires_at) }))?;
    } else if let Some(expires_at) = expires_at {
        output::hint(&format!("written; it ends {}", timespan::relative(expires_at, now())));
    }
    Ok(())
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::Write { path, source }
}
