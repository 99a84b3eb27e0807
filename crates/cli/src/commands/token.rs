//! `avouch token`: makes the join token with which a workload enrols.

use super::entry::{NewEntry, Registered};
use super::now;
use super::proto::{duration_message, json_time, time};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use avouch_api::admin::v1::{CreateTokenRequest, GetEntryRequest};
use avouch_files::{IfExists, NewFile};
use avouch_fleet::{AdminClient, AdminSocket};
use avouch_spiffe::SpiffeId;
use avouch_text::clean;
use avouch_time::duration::rounded;
use avouch_time::relative;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tonic::Code;
use zeroize::Zeroizing;

/// A join token to be made.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) spiffe_id: SpiffeId,
    /// The time in which it may be used; absent: the issuer's default.
    pub(crate) ttl: Option<Duration>,
    /// The file to write it into; absent: standard output.
    pub(crate) out: Option<PathBuf>,
    /// The entry to register first.
    pub(crate) register: Option<NewEntry>,
    /// The time to wait for an issuer that does not answer yet.
    pub(crate) wait: Duration,
}

/// A join token that was made.
struct Token {
    token: Zeroizing<String>,
    expires_at: Option<SystemTime>,
}

pub(crate) async fn create(
    admin: &AdminSocket,
    new: &NewToken,
    output: Output,
) -> Result<ExitCode, CliError> {
    // Checked first, since a token that cannot be written should not be made.
    let out = match new.out.as_deref() {
        Some(path) => Some((path, NewFile::secret(path).map_err(cannot_write(path))?)),
        None => None,
    };
    let mut client = admin.connect_within(new.wait).await?;
    if let Some(entry) = &new.register {
        register(&mut client, entry).await?;
    }
    let token = ask(&mut client, new).await?;
    match out {
        None => print(&token, output)?,
        Some((path, file)) => {
            let line = Zeroizing::new(format!("{}\n", *token.token));
            file.keep(line.as_bytes(), IfExists::Replace).map_err(cannot_write(path))?;
            say_where(path, &token, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Registers the identity. Where it is registered it stays as it is; if that is not what was asked for, it is an error.
async fn register(client: &mut AdminClient, wanted: &NewEntry) -> Result<(), CliError> {
    match client.create_entry(wanted.request()?).await {
        Ok(_) => return Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => {}
        Err(status) => return Err(CliError::refused(&status, None)),
    }
    let id = &wanted.spiffe_id;
    let found = client.get_entry(GetEntryRequest { spiffe_id: id.to_string() }).await;
    let found = found.map_err(|status| CliError::refused(&status, None))?.into_inner().entry;
    match difference(wanted, &Registered::read(found.unwrap_or_default())?) {
        None => Ok(()),
        Some((found, wanted)) => Err(CliError::RegisteredOtherwise { id: id.clone(), found, wanted }),
    }
}

/// The difference between what is registered and what was asked for, in words; what was not asked for may be anything.
fn difference(wanted: &NewEntry, found: &Registered) -> Option<(String, String)> {
    let set = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    if !wanted.dns_names.is_empty() && set(&wanted.dns_names) != set(&found.dns_names) {
        let shown = |names: &[String]| match names.is_empty() {
            true => "no DNS names".to_owned(),
            false => format!("the DNS names {}", names.join(" ")),
        };
        return Some((shown(&found.dns_names), shown(&wanted.dns_names)));
    }
    if wanted.svid_ttl.is_some() && wanted.svid_ttl != found.svid_ttl {
        let shown = |life: Option<_>| {
            life.map_or("the issuer's life of certificates".to_owned(), |life| {
                format!("a life of certificates of {}", rounded(life))
            })
        };
        return Some((shown(found.svid_ttl), shown(wanted.svid_ttl)));
    }
    None
}

async fn ask(client: &mut AdminClient, new: &NewToken) -> Result<Token, CliError> {
    let id = new.spiffe_id.as_str();
    let ttl = new.ttl.map(duration_message).transpose()?;
    let answer = client.create_token(CreateTokenRequest { spiffe_id: id.to_owned(), ttl }).await;
    let answer = answer.map_err(|status| {
        let help = (status.code() == Code::NotFound)
            .then(|| format!("register it first: avouch entry add {id}, or add --register"));
        CliError::refused(&status, help)
    })?;
    let answer = answer.into_inner();
    Ok(Token { expires_at: time(answer.expires_at.as_ref())?, token: Zeroizing::new(answer.token) })
}

fn print(token: &Token, output: Output) -> Result<(), CliError> {
    let Token { token, expires_at } = token;
    output.show(
        || json!({ "token": token.as_str(), "expires_at": json_time(*expires_at) }),
        || format!("{}\n", clean(token)), // one line, whoever made it
    )?;
    if let Some(expires_at) = expires_at.filter(|_| output == Output::Text) {
        output::hint(&format!(
            "a secret, for one workload: set it as identity.issuer.join_token_file; it ends {}",
            relative(expires_at, now())
        ));
    }
    Ok(())
}

/// Reports where a token was written that is in the file and nowhere else.
fn say_where(path: &Path, token: &Token, output: Output) -> Result<(), CliError> {
    let expires_at = token.expires_at;
    let ends = |at| Text::Hint(format!("written; it ends {}", relative(at, now())));
    output.show(
        || json!({ "file": path, "expires_at": json_time(expires_at) }),
        || expires_at.map_or_else(|| String::new().into(), ends),
    )?;
    Ok(())
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::Write { path, source }
}
