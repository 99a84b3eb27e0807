//! `avouch crl`: certificate revocation lists, of the issuer or from a file.

use super::{exit_code, now};
use crate::error::CliError;
use crate::input;
use crate::output::{self, Output};
use avouch_api::admin::v1::GetCrlsRequest;
use avouch_files::pem::{self, Kind};
use avouch_fleet::AdminSocket;
use avouch_spiffe::x509::RevocationList;
use avouch_time::{relative, rfc3339};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// The largest file that is read: a list of half a million certificates has about 24 MB.
const LIMIT: u64 = 64 << 20;

/// Shows the lists of a file, or those of the issuer. Answers no if one of them is stale or is no full list.
pub(crate) async fn show(
    admin: &AdminSocket,
    file: Option<&Path>,
    output: Output,
) -> Result<ExitCode, CliError> {
    let lists = match file {
        Some(path) => of_file(path)?,
        None => of_issuer(admin).await?,
    };
    let now = now();
    output.show(
        || lists.iter().map(|list| to_json(list, now)).collect::<Vec<_>>(),
        || lists.iter().map(|list| to_text(list, now)).collect::<Vec<_>>().join("\n"),
    )?;
    Ok(exit_code(lists.iter().all(|list| problem(list, now).is_none())))
}

async fn of_issuer(admin: &AdminSocket) -> Result<Vec<RevocationList>, CliError> {
    let answer = admin.connect().await?.get_crls(GetCrlsRequest {}).await;
    let crls = answer.map_err(|status| CliError::refused(&status, None))?.into_inner().crls;
    crls.iter().map(|crl| RevocationList::parse(&crl.der).map_err(CliError::answer)).collect()
}

fn of_file(path: &Path) -> Result<Vec<RevocationList>, CliError> {
    let content = match path.as_os_str() == "-" {
        true => input::file_or_stdin(path)?,
        false => input::file(path, LIMIT)?,
    };
    let unusable = |problem: String| CliError::Unusable {
        path: path.to_owned(),
        problem,
        help: "expected revocation lists in PEM (BEGIN X509 CRL), or one in DER".to_owned(),
    };
    let blocks = pem::blocks(&content).map_err(|error| unusable(error.to_string()))?;
    if blocks.is_empty() {
        let one = RevocationList::parse(&content).map_err(|error| unusable(error.to_string()))?;
        return Ok(vec![one]);
    }
    let lists = blocks.iter().filter(|block| block.kind == Kind::Crl);
    let lists: Result<Vec<_>, _> = lists.map(|block| RevocationList::parse(&block.der)).collect();
    match lists.map_err(|error| unusable(error.to_string()))? {
        none if none.is_empty() => Err(unusable("it holds no revocation list".to_owned())),
        lists => Ok(lists),
    }
}

/// The reason why a verifier cannot rely on a list.
fn problem(list: &RevocationList, now: SystemTime) -> Option<String> {
    if let Some(unsupported) = list.unsupported() {
        return Some(format!("refused: {unsupported}"));
    }
    match list.next_update() {
        None => Some("refused: it does not say when the next one comes (RFC 5280 5.1.2.5)".to_owned()),
        Some(next) if next <= now => Some("stale: the next list should be there".to_owned()),
        Some(_) if list.this_update() > now => Some("not valid yet: a clock is wrong".to_owned()),
        Some(_) => None,
    }
}

fn to_text(list: &RevocationList, now: SystemTime) -> String {
    let when = |at: SystemTime| format!("{} ({})", rfc3339(at), relative(at, now));
    let or_none = |text: Option<&str>| text.unwrap_or("(none)").to_owned();
    let mut text = "revocation list\n".to_owned();
    text.push_str(&output::fields(
        2,
        &[
            ("issuer", list.issuer().to_owned()),
            ("authority", or_none(list.authority_key_id())),
            ("number", or_none(list.number())),
            ("made", when(list.this_update())),
            ("stale from", list.next_update().map_or("(never)".to_owned(), when)),
            ("revoked", list.entries().len().to_string()),
            ("problem", problem(list, now).unwrap_or_else(|| "(none)".to_owned())),
        ],
    ));
    for entry in list.entries() {
        let reason = entry.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
        text.push_str(&format!("  {}  {}{reason}\n", entry.serial, rfc3339(entry.revoked_at)));
    }
    text
}

fn to_json(list: &RevocationList, now: SystemTime) -> Value {
    let entries = list.entries().iter().map(|entry| {
        json!({ "serial": entry.serial, "revoked_at": rfc3339(entry.revoked_at), "reason": entry.reason })
    });
    json!({
        "kind": "revocation list", "issuer": list.issuer(), "authority": list.authority_key_id(),
        "number": list.number(), "this_update": rfc3339(list.this_update()),
        "next_update": list.next_update().map(rfc3339), "problem": problem(list, now),
        "entries": entries.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_issuance::{CrlContent, CrlEntry, PrivateKey, Profiles, Root, SystemEntropy};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    fn list() -> (Vec<u8>, SystemTime) {
        let now = now();
        let profiles = Profiles::embedded().unwrap();
        let (domain, key) = ("market.example".parse().unwrap(), PrivateKey::generate().unwrap());
        let root = Root::create(&domain, &profiles.root, key, now, &SystemEntropy).unwrap();
        let entries = vec![CrlEntry { serial: vec![0x0a, 0x1b], revoked_at: now, reason: None }];
        let content = CrlContent { number: 7, this_update: now, next_update: now + HOUR, entries };
        (root.sign_crl(&content).unwrap(), now)
    }

    #[test]
    fn a_list_is_shown_and_it_is_said_when_it_is_stale() {
        let (der, made) = list();
        let list = RevocationList::parse(&der).unwrap();
        assert_eq!(problem(&list, made + HOUR / 2), None);
        assert!(problem(&list, made + HOUR).unwrap().starts_with("stale"));
        assert!(problem(&list, made - HOUR).unwrap().starts_with("not valid yet"));
        let text = to_text(&list, made);
        assert!(text.contains("0a1b") && text.contains("number") && text.contains('7'), "{text}");
        assert_eq!(to_json(&list, made)["entries"][0]["serial"], "0a1b");
    }

    #[test]
    fn files_in_pem_and_der_are_read_and_others_are_not() {
        let (der, _) = list();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("list");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            of_file(&path).map(|lists| lists.len()).map_err(|error| error.to_string())
        };
        let text = pem::encode("X509 CRL", &der);
        assert_eq!((read(&der), read(text.as_bytes())), (Ok(1), Ok(1)));
        assert_eq!(read(format!("{text}{text}").as_bytes()), Ok(2));
        let certificate = pem::encode("CERTIFICATE", &[1, 2, 3]);
        assert!(read(certificate.as_bytes()).unwrap_err().contains("no revocation list"));
        for wrong in [&der[..der.len() - 1], b"garbage", b""] {
            assert!(read(wrong).is_err());
        }
    }
}
