//! Enrolment: a join token for the first SVID (ADR 3).

use std::path::Path;

use avouch_api::issuer::v1::enroll_request::Evidence;
use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{EnrollRequest, Generation, IssuedSvid};
use avouch_files::{Reader, SECRET_LIMIT};
use avouch_spiffe::JoinToken;
use avouch_text::with_causes;

use super::context::SourceContext;
use super::error::IdentityError;
use super::files::READ_TIMEOUT;
use super::issuer_connection::{Target, connect};
use super::key::SvidKey;
use crate::verify::Trust;

/// Reads a join token from its file, in time. No error holds text of it.
pub(super) async fn read_token(path: &Path) -> Result<JoinToken, IdentityError> {
    let content = Reader::new(path, SECRET_LIMIT)
        .read(READ_TIMEOUT)
        .await
        .map_err(|source| IdentityError::File { action: "read", path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&content.bytes)
        .map_err(|_| IdentityError::Token { path: path.to_owned(), detail: "it is not text".to_owned() })?;
    // Some editors begin a file with a byte order mark.
    text.trim_start_matches('\u{feff}').trim().parse().map_err(|error: avouch_spiffe::JoinTokenError| {
        IdentityError::Token { path: path.to_owned(), detail: with_causes(&error).to_string() }
    })
}

/// Enrolls `key` with the token. The issuer is verified against the roots the token pins, and told which trust state is
/// held.
pub(super) async fn enroll(
    target: &Target,
    context: &SourceContext,
    token: &JoinToken,
    key: &SvidKey,
    held: Generation,
) -> Result<IssuedSvid, IdentityError> {
    let trust = Trust::Pins(token.root_pins().into());
    let connection =
        connect(target, context, trust, token.trust_domain().clone(), token.issuer().clone(), "enroll")
            .await?;
    let request = EnrollRequest {
        evidence: Some(Evidence::JoinToken(token.secret().to_owned())),
        csr: key.request()?,
        held: Some(held),
    };
    let response = IssuerClient::new(connection)
        .enroll(context.request(request))
        .await
        .map_err(|status| IdentityError::Refused { action: "enroll", status: Box::new(status) })?;
    response.into_inner().svid.ok_or_else(|| IdentityError::Answer("it carries no SVID".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_read_with_what_editors_put_around_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        let token = JoinToken::new("q9VmyT0Yw3mS7pXb-_kLzA", issuer, vec![[7; 32]]).unwrap();
        for text in [token.encode(), format!("\u{feff}{}\r\n", token.encode())] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_token(&path).await.unwrap(), token);
        }
    }

    #[tokio::test]
    async fn what_is_no_token_is_not_quoted_and_does_not_stop_whoever_reads_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        let secret = "q9VmyT0Yw3mS7pXb-_kLzA";
        for text in [
            format!("avjt1.{secret}"),
            secret.to_owned(),
            format!("{secret}\u{0}\u{ff}"),
            secret.repeat(9000),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read_token(&path).await.unwrap_err();
            let said = format!("{error} {error:?} {}", with_causes(&error));
            assert!(!said.contains(&secret[..8]) && said.contains("token"), "{said}");
        }
        std::fs::write(&path, [b"avjt1.".as_slice(), &[0xff; 8]].concat()).unwrap();
        assert!(read_token(&path).await.unwrap_err().to_string().contains("not text"));
        std::fs::remove_file(&path).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        let error = read_token(&path).await.unwrap_err();
        assert!(with_causes(&error).to_string().contains("FIFO"), "{error:?}");
    }
}
