//! `avouch token`: what a workload shows at its first contact.

use super::{json_time, now, proto_duration, time};
use crate::args::{Arguments, TokenCommand, TokenCreate};
use crate::error::CliError;
use crate::{client, output, timespan};
use avouch_api::admin::v1::CreateTokenRequest;
use serde_json::json;
use std::process::ExitCode;
use tonic::Code;

pub(crate) async fn run(arguments: &Arguments, command: &TokenCommand) -> Result<ExitCode, CliError> {
    match command {
        TokenCommand::Create(token) => create(arguments, token).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn create(arguments: &Arguments, token: &TokenCreate) -> Result<(), CliError> {
    let id = token.spiffe_id.as_str();
    let request =
        CreateTokenRequest { spiffe_id: id.to_owned(), ttl: token.ttl.map(proto_duration).transpose()? };
    let answer = client::connect(arguments).await?.create_token(request).await.map_err(|status| {
        let help =
            (status.code() == Code::NotFound).then(|| format!("register it first: avouch entry add {id}"));
        CliError::refused(&status, help)
    })?;
    let answer = answer.into_inner();
    let expires_at = time(answer.expires_at.as_ref())?;
    if arguments.json {
        output::json(&json!({ "token": answer.token, "expires_at": json_time(expires_at) }))?;
        return Ok(());
    }
    output::text(&format!("{}\n", answer.token))?;
    if let Some(expires_at) = expires_at {
        output::hint(&format!(
            "a secret, for one workload: set it as identity.issuer.join_token_file; it ends {}",
            timespan::relative(expires_at, now())
        ));
    }
    Ok(())
}
