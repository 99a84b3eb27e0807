//! `avouch bundle`: the roots that vouch for everything in the trust domain.

use super::now;
use crate::args::{Arguments, BundleCommand, BundleShow};
use crate::error::CliError;
use crate::{client, output, timespan};
use avouch_api::admin::v1::GetBundleRequest;
use avouch_api::admin::v1::admin_client::AdminClient;
use avouch_spiffe::{Bundle, TrustDomain};
use std::process::ExitCode;
use tonic::transport::Channel;

pub(crate) async fn run(arguments: &Arguments, command: &BundleCommand) -> Result<ExitCode, CliError> {
    match command {
        BundleCommand::Show(bundle) => show(arguments, bundle).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn show(arguments: &Arguments, show: &BundleShow) -> Result<(), CliError> {
    let mut client = client::connect(arguments).await?;
    let (bundle, encoded) = get(&mut client).await?;
    if arguments.json {
        let document: serde_json::Value =
            serde_json::from_slice(&encoded).map_err(|error| CliError::Answer(error.to_string()))?;
        output::json(&document)?;
    } else if show.pem {
        let roots = bundle.authorities().iter().map(|root| root.der());
        output::text(&avouch_files::pem::write_certificates(roots))?;
    } else {
        output::text(&describe(&bundle))?;
    }
    Ok(())
}

/// The bundle that the issuer gives out, read and as it was sent.
pub(super) async fn get(client: &mut AdminClient<Channel>) -> Result<(Bundle, Vec<u8>), CliError> {
    let answer = client.get_bundle(GetBundleRequest {}).await;
    let answer = answer.map_err(|status| CliError::refused(&status, None))?.into_inner();
    let trust_domain: TrustDomain =
        answer.trust_domain.parse().map_err(|error| CliError::Answer(format!("{error}")))?;
    let bundle = Bundle::from_json(trust_domain, &answer.spiffe_bundle)
        .map_err(|error| CliError::Answer(error.to_string()))?;
    Ok((bundle, answer.spiffe_bundle))
}

fn describe(bundle: &Bundle) -> String {
    let mut text = output::fields(
        0,
        &[("trust domain", bundle.trust_domain().to_string()), ("sequence", bundle.sequence().to_string())],
    );
    for (number, root) in bundle.authorities().iter().enumerate() {
        text.push_str(&format!("root {}\n", number + 1));
        let end = format!(
            "{} ({})",
            timespan::rfc3339(root.not_after()),
            timespan::relative(root.not_after(), now())
        );
        text.push_str(&output::fields(
            2,
            &[
                ("subject", root.subject().to_owned()),
                ("sha256", root.fingerprint()),
                ("ends", end),
                ("key", root.key_algorithm().to_string()),
            ],
        ));
    }
    text
}
