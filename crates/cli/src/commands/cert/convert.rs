//! `avouch cert convert`: certificates, and a key where it is asked for, in another form.
//!
//! A private key goes into a file for its owner alone, never to standard output; the password of an archive comes from a
//! file. What is there already is not overwritten unless asked to, and the new file is there whole or not at all.

use super::document;
use crate::args::{CertConvert, Form};
use crate::convert::{self, Contents};
use crate::error::{CliError, shown};
use crate::{input, inspect, output, roots};
use avouch_files::pem::{self, Form as Found, PemError, Wanted};
use avouch_files::{NewFile, Place, SECRET_LIMIT};
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

pub(super) fn run(args: &CertConvert) -> Result<ExitCode, CliError> {
    let content = input::file_or_stdin(&args.input)?;
    let found = document(&args.input, &content)?;
    let certificates = found.certificates;
    if certificates.is_empty() {
        return Err(super::only_requests(&args.input));
    }
    for (at, der) in certificates.iter().enumerate() {
        if let Err(error) = inspect::inspect(der).facts() {
            return Err(unusable(args, &format!("certificate {} is none: {error}", at + 1)));
        }
    }
    let key = match &args.key {
        Some(path) => Some(convert::matching_key(path, &certificates, &roots::key(path)?)?),
        None => None,
    };
    let written = match args.to {
        Form::Pem => text(&certificates, key.as_deref().map(Vec::as_slice)),
        Form::Der => der(args, &certificates)?,
        Form::Pkcs12 => pkcs12(args, &certificates, key.as_deref().map(Vec::as_slice))?,
    };
    write(args, &written, key.is_some())?;
    Ok(ExitCode::SUCCESS)
}

fn unusable(args: &CertConvert, problem: &str) -> CliError {
    CliError::Unusable {
        path: args.input.clone(),
        problem: problem.to_owned(),
        help: format!("look at it with `avouch cert inspect {}`", shown(&args.input)),
    }
}

fn text(certificates: &[Vec<u8>], key: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let key = key.map(|key| pem::encode_secret("PRIVATE KEY", key)).unwrap_or_default();
    let certificates = pem::write_certificates(certificates.iter().map(Vec::as_slice));
    // Room for all of it at once, so that no copy of the key is left behind by growing.
    let mut text = Zeroizing::new(Vec::with_capacity(key.len().saturating_add(certificates.len())));
    text.extend_from_slice(key.as_bytes());
    text.extend_from_slice(certificates.as_bytes());
    text
}

fn der(args: &CertConvert, certificates: &[Vec<u8>]) -> Result<Zeroizing<Vec<u8>>, CliError> {
    match certificates {
        [only] => Ok(Zeroizing::new(only.clone())),
        many => {
            let problem = format!("it holds {} certificates, and a DER file holds one", many.len());
            Err(CliError::Unusable {
                path: args.input.clone(),
                problem,
                help: "choose --to pem or --to pkcs12, which hold a chain".to_owned(),
            })
        }
    }
}

fn pkcs12(
    args: &CertConvert,
    certificates: &[Vec<u8>],
    key: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let Some(path) = &args.password_file else {
        return Err(CliError::NoPassword); // the grammar asks for it already
    };
    let password = password(path)?;
    let facts = certificates.first().and_then(|der| inspect::inspect(der).into_facts());
    let name = facts.map(|facts| facts.uris.first().cloned().unwrap_or(facts.subject)).unwrap_or_default();
    let contents = Contents { certificates, key, name: &name };
    let archive = convert::write_pkcs12(&contents, &password).map_err(|_| CliError::NoRandomness)?;
    Ok(Zeroizing::new(archive))
}

/// The first line. A byte order mark is none of it: whoever types the password later has no such key.
fn password(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let content = input::file(path, SECRET_LIMIT)?;
    let unusable =
        |problem: String, help: String| CliError::Unusable { path: path.to_owned(), problem, help };
    if let form @ Found::Utf16 = Found::of(&content) {
        let error = PemError::NotPem { wanted: Wanted::Key, form };
        return Err(unusable(form.name(), error.mend(path).unwrap_or_default()));
    }
    let line = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => {
            Ok(Zeroizing::new(text.to_owned()))
        }
        _ => Err(unusable(
            "its first line is no password: it is empty, not UTF-8, or holds control characters".to_owned(),
            "make one: `openssl rand -hex 20 > FILE`".to_owned(),
        )),
    }
}

fn write(args: &CertConvert, content: &[u8], is_secret: bool) -> Result<(), CliError> {
    let Some(path) = &args.out else {
        if args.to != Form::Pem && output::is_terminal() {
            return Err(CliError::BinaryToTerminal);
        }
        return Ok(output::bytes(content)?);
    };
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::Exists { path: path.clone() },
        _ => CliError::Write { path: path.clone(), source },
    };
    let place = if args.force { Place::Replaced } else { Place::New };
    let file = if is_secret { NewFile::secret(path) } else { NewFile::public(path) };
    file.and_then(|file| file.keep(content, place)).map_err(failed)?;
    output::hint(&format!("wrote {}", shown(path)));
    Ok(())
}
