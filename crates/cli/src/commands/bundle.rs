//! `avouch bundle`: the root certificates of the trust domain.

use super::now;
use crate::error::CliError;
use crate::output::{self, Output};
use avouch_api::admin::v1::GetBundleRequest;
use avouch_fleet::{AdminClient, AdminSocket};
use avouch_spiffe::{Bundle, TrustDomain};
use avouch_time::{relative, rfc3339};
use serde_json::Value;
use std::process::ExitCode;

/// Shows the roots; with `pem` as PEM, or else in the form of `output`.
pub(crate) async fn show(admin: &AdminSocket, pem: bool, output: Output) -> Result<ExitCode, CliError> {
    let (bundle, encoded) = get(&mut admin.connect().await?).await?;
    let document: Value = serde_json::from_slice(&encoded).map_err(CliError::answer)?;
    let roots = || avouch_files::pem::write_certificates(bundle.authorities().iter().map(|root| root.der()));
    output.show(|| document, || if pem { roots() } else { describe(&bundle) })?;
    Ok(ExitCode::SUCCESS)
}

/// The bundle that the issuer gives out, read and as it was sent.
pub(super) async fn get(client: &mut AdminClient) -> Result<(Bundle, Vec<u8>), CliError> {
    let answer = client.get_bundle(GetBundleRequest {}).await;
    let answer = answer.map_err(|status| CliError::refused(&status, None))?.into_inner();
    let trust_domain: TrustDomain = answer.trust_domain.parse().map_err(CliError::answer)?;
    let bundle = Bundle::from_json(trust_domain, &answer.spiffe_bundle).map_err(CliError::answer)?;
    Ok((bundle, answer.spiffe_bundle))
}

fn describe(bundle: &Bundle) -> String {
    let mut text = output::fields(
        0,
        &[("trust domain", bundle.trust_domain().to_string()), ("sequence", bundle.sequence().to_string())],
    );
    for (number, root) in bundle.authorities().iter().enumerate() {
        text.push_str(&format!("root {}\n", number + 1));
        let end = format!("{} ({})", rfc3339(root.not_after()), relative(root.not_after(), now()));
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
