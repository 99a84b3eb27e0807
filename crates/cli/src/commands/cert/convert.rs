//! `avouch cert convert`: certificates, and a key where it is asked for, in another form.
//!
//! A private key goes into a file for its owner alone, never to standard output; the password of an archive comes from a
//! file. What is there already is not overwritten unless asked to, and the new file is there whole or not at all.

use super::file;
use crate::convert::{self, ArchivedCertificate, Contents, Format};
use crate::error::CliError;
use crate::{input, inspect, output, roots};
use avouch_files::pem::{self, Form, PemError, Wanted};
use avouch_files::{IfExists, NewFile, SECRET_LIMIT};
use avouch_text::shorten_path;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// A conversion that is asked for.
pub(crate) struct Conversion<'a> {
    /// The file with certificates.
    pub(crate) input: &'a Path,
    /// The format to write.
    pub(crate) to: Format,
    /// The file to write; absent: standard output.
    pub(crate) out: Option<&'a Path>,
    /// The file with the private key to write beside the certificates.
    pub(crate) key: Option<&'a Path>,
    /// The file with the password of a PKCS#12 archive.
    pub(crate) password_file: Option<&'a Path>,
    /// Whether a file that is there is replaced.
    pub(crate) force: bool,
}

pub(crate) fn run(conversion: &Conversion<'_>) -> Result<ExitCode, CliError> {
    let path = conversion.input;
    let certificates = file::document(path, &input::file_or_stdin(path)?)?.certificates;
    if certificates.is_empty() {
        return Err(file::only_requests(path));
    }
    for (at, der) in certificates.iter().enumerate() {
        if let Err(error) = inspect::inspect(der).info() {
            return Err(CliError::Unusable {
                path: path.to_owned(),
                problem: format!("certificate {} is none: {error}", at + 1),
                help: format!("look at it with `avouch cert inspect {}`", shorten_path(path)),
            });
        }
    }
    let key = match conversion.key {
        Some(path) => Some(convert::matching_key(path, &certificates, &roots::key(path)?)?),
        None => None,
    };
    let key_der = key.as_deref().map(Vec::as_slice);
    let written = match conversion.to {
        Format::Pem => text(&certificates, key_der),
        Format::Der => der(path, &certificates)?,
        Format::Pkcs12 => pkcs12(conversion.password_file, &certificates, key_der)?,
    };
    write(conversion, &written, key.is_some())?;
    Ok(ExitCode::SUCCESS)
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

fn der(path: &Path, certificates: &[Vec<u8>]) -> Result<Zeroizing<Vec<u8>>, CliError> {
    match certificates {
        [only] => Ok(Zeroizing::new(only.clone())),
        many => {
            let problem = format!("it holds {} certificates, and a DER file holds one", many.len());
            Err(CliError::Unusable {
                path: path.to_owned(),
                problem,
                help: "choose --to pem or --to pkcs12, which hold a chain".to_owned(),
            })
        }
    }
}

fn pkcs12(
    password_file: Option<&Path>,
    certificates: &[Vec<u8>],
    key: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let Some(path) = password_file else {
        return Err(CliError::NoPassword); // the grammar asks for it already
    };
    let password = password(path)?;
    if !password.is_ascii() {
        output::hint("the password is not all ASCII: OpenSSL opens the archive with it, and Java does not");
    }
    let entries = entries(certificates, key.is_some());
    if key.is_none() && entries.iter().any(|entry| !entry.trusted) {
        output::hint("certificates that are no CA are in the archive, and Java will show no entry for them");
    }
    let contents = Contents { certificates: &entries, key };
    let archive = convert::write_pkcs12(&contents, &password).map_err(|_| CliError::NoRandomness)?;
    Ok(Zeroizing::new(archive))
}

/// The content of an archive: a key's chain, or else roots, each once and under a name of its own, which does not change
/// with what is beside it.
fn entries(certificates: &[Vec<u8>], has_key: bool) -> Vec<ArchivedCertificate<'_>> {
    let mut entries: Vec<ArchivedCertificate<'_>> = Vec::new();
    for (at, der) in certificates.iter().enumerate() {
        let Some(info) = inspect::inspect(der).into_info() else { continue };
        let shown = info.uris.first().cloned().unwrap_or(info.subject);
        let fingerprint = info.sha256.get(..16).unwrap_or_default();
        let entry = match (has_key, at) {
            (true, 0) => {
                ArchivedCertificate { der, name: Some(name(&shown, fingerprint, false)), trusted: false }
            }
            (true, _) => ArchivedCertificate { der, name: None, trusted: false },
            (false, _) => {
                ArchivedCertificate { der, name: Some(name(&shown, fingerprint, true)), trusted: info.ca }
            }
        };
        if has_key || entries.iter().all(|known| known.der != der.as_slice()) {
            entries.push(entry);
        }
    }
    entries
}

/// A name that is not too long, with the fingerprint's beginning where it is wanted or nothing else is there.
fn name(shown: &str, fingerprint: &str, with_fingerprint: bool) -> String {
    let suffix = match (shown.is_empty(), with_fingerprint) {
        (true, _) => fingerprint.to_owned(),
        (false, true) => format!(" {fingerprint}"),
        (false, false) => String::new(),
    };
    let mut units = suffix.encode_utf16().count();
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= convert::MAX_NAME
    };
    shown.chars().take_while(fits).chain(suffix.chars()).collect()
}

/// The password: the first line of a file. A byte order mark is not part of it, since nobody can type one later.
fn password(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let content = input::file(path, SECRET_LIMIT)?;
    let unusable =
        |problem: String, help: String| CliError::Unusable { path: path.to_owned(), problem, help };
    if let form @ Form::Utf16 = Form::of(&content) {
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

fn write(conversion: &Conversion<'_>, content: &[u8], is_secret: bool) -> Result<(), CliError> {
    let Some(path) = conversion.out else {
        if conversion.to != Format::Pem && output::is_terminal() {
            return Err(CliError::BinaryToTerminal);
        }
        return Ok(output::bytes(content)?);
    };
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::Exists { path: path.to_owned() },
        _ => CliError::Write { path: path.to_owned(), source },
    };
    let if_exists = if conversion.force { IfExists::Replace } else { IfExists::Fail };
    let file = if is_secret { NewFile::secret(path) } else { NewFile::public(path) };
    file.and_then(|file| file.keep(content, if_exists)).map_err(failed)?;
    output::hint(&format!("wrote {}", shorten_path(path)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_friendly_name_is_never_empty_and_never_longer_than_the_standard_allows() {
        assert_eq!(name("CN=root", "0123", true), "CN=root 0123");
        assert_eq!(name("spiffe://a/b", "0123", false), "spiffe://a/b");
        assert_eq!((name("", "0123", true), name("", "0123", false)), ("0123".to_owned(), "0123".to_owned()));
        for long in ["x".repeat(400), "😀".repeat(400)] {
            let named = name(&long, "0123456789abcdef", true);
            let units = named.encode_utf16().count();
            assert!((254..=255).contains(&units) && named.ends_with(" 0123456789abcdef"), "{units}");
        }
    }
}
