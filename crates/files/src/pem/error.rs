//! Errors of PEM text, without an octet of it, each with the command that repairs the file.

use std::path::Path;

use super::form::Form;
use super::kind::Kind;

/// The kind of content that a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A private key.
    Key,
    /// Certificates.
    Certificates,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "private key",
            Self::Certificates => "certificate",
        })
    }
}

/// The reason why PEM text cannot be read. No variant carries an octet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is no PEM block at all.
    #[error("not PEM: {}", form.name())]
    NotPem {
        /// The wanted content.
        wanted: Wanted,
        /// The form of the file instead.
        form: Form,
    },
    /// A marker is followed by text that belongs on the next line.
    #[error("not PEM: its line breaks are missing (line {line})")]
    LineBreaksMissing {
        /// The line, from 1.
        line: usize,
    },
    /// Two markers, or a marker and base64, are on one line.
    #[error("the line break before a BEGIN or END is missing (line {line})")]
    SharedLine {
        /// The line, from 1.
        line: usize,
    },
    /// A marker without its five closing dashes.
    #[error("the BEGIN or END of line {line} does not end with five dashes")]
    BadMarker {
        /// The line, from 1.
        line: usize,
    },
    /// A block has no end, or another's.
    #[error("{} (line {line}) has no END of its own: it is cut", kind.name())]
    Cut {
        /// The kind of the block.
        kind: Kind,
        /// The line of its BEGIN.
        line: usize,
    },
    /// An END has no BEGIN: the first part is missing.
    #[error("the END of line {line} has no BEGIN: the first part of the file is missing")]
    NoBegin {
        /// The line, from 1.
        line: usize,
    },
    /// The text of a block is not base64.
    #[error("{} (line {line}) is not base64: it is damaged", kind.name())]
    Base64 {
        /// The kind of the block.
        kind: Kind,
        /// The line of its BEGIN.
        line: usize,
    },
    /// Certificates in a form that only OpenSSL takes.
    #[error("it holds {} (line {line}), which is read by OpenSSL only", kind.name())]
    OpenSslOnly {
        /// The kind of the block.
        kind: Kind,
        /// The line of its BEGIN.
        line: usize,
    },
    /// There are blocks, but none of the kind that was wanted.
    #[error("it holds no {wanted} but {}", found.name())]
    Absent {
        /// The wanted content.
        wanted: Wanted,
        /// The block that is most likely taken for it.
        found: Kind,
    },
}

/// The error for a text without the wanted content: it names the block that was most likely taken for it.
pub(super) fn absent(wanted: Wanted, found: &[Kind], text: &[u8]) -> PemError {
    // A key in another form is likelier than any other block beside it.
    let best = |kind: &&Kind| match (wanted, kind) {
        (Wanted::Key, Kind::EncryptedKey | Kind::OpenSshKey | Kind::OtherKey) => 0,
        (Wanted::Key, Kind::PublicKey) => 1,
        (_, Kind::Other) => 3,
        _ => 2,
    };
    match found.iter().min_by_key(best) {
        Some(&found) => PemError::Absent { wanted, found },
        None => PemError::NotPem { wanted, form: Form::of(text) },
    }
}

impl PemError {
    /// Advice on how to repair the file at `path`, with the commands to run.
    #[must_use]
    pub fn mend(&self, path: &Path) -> Option<String> {
        let file = quoted(path);
        match self {
            Self::LineBreaksMissing { .. } => {
                Some("write the file with its line breaks; `printf '%b'` turns \\n into them".to_owned())
            }
            Self::SharedLine { .. } => {
                Some("end each file with a line break before the next is put behind it".to_owned())
            }
            Self::Absent { wanted, found } => in_place(*wanted, *found, "", &file),
            Self::NotPem { wanted, form: Form::DerOf(found) } => {
                in_place(*wanted, *found, "-inform DER ", &file)
            }
            Self::NotPem { wanted: Wanted::Key, form: Form::Der } => Some(pkey("-inform DER ", &file)),
            Self::NotPem { wanted: Wanted::Certificates, form: Form::Der } => {
                Some(x509("-inform DER ", &file))
            }
            Self::NotPem { wanted: Wanted::Key, form: Form::Pkcs12 } => {
                Some(format!("`openssl pkcs12 -in {file} -nocerts -noenc -out KEY.pem` takes the key out"))
            }
            Self::NotPem { wanted: Wanted::Certificates, form: Form::Pkcs12 } => {
                Some(format!("`openssl pkcs12 -in {file} -nokeys -out CERT.pem` takes the certificates out"))
            }
            Self::NotPem { form: Form::JavaKeyStore, .. } => Some(format!(
                "`keytool -importkeystore -srckeystore {file} -destkeystore STORE.p12 -deststoretype PKCS12`, then \
                 `openssl pkcs12`"
            )),
            Self::NotPem { form: Form::Utf16, .. } => {
                Some(format!("`iconv -f UTF-16 -t UTF-8 {file}` writes it as it is needed"))
            }
            Self::OpenSslOnly { kind: Kind::TrustedCertificate, .. } => Some(x509("", &file)),
            Self::OpenSslOnly { .. } => Some(pkcs7("", &file)),
            _ => None,
        }
    }

    /// The error and the advice, on one line.
    #[must_use]
    pub fn describe(&self, path: &Path) -> String {
        match self.mend(path) {
            Some(mend) => format!("{self}; {mend}"),
            None => self.to_string(),
        }
    }
}

/// The advice for a file with `found` instead of the wanted content.
fn in_place(wanted: Wanted, found: Kind, options: &str, file: &str) -> Option<String> {
    Some(match (wanted, found) {
        (Wanted::Key, Kind::EncryptedKey) => format!(
            "`openssl pkey {options}-in {file} -out KEY.pem` asks for its password and writes it without"
        ),
        (Wanted::Key, Kind::OpenSshKey) => {
            format!("`ssh-keygen -p -N '' -m PKCS8 -f {file}` rewrites it as it is needed")
        }
        (Wanted::Key, Kind::PublicKey) => {
            "name the file with the private key that it was made from".to_owned()
        }
        (Wanted::Key, Kind::Certificate) => {
            "name the file with the key; are certificate and key exchanged?".to_owned()
        }
        (Wanted::Key, found) if found.is_private_key() => pkey(options, file),
        (Wanted::Certificates, found) if found.is_private_key() => {
            "name the file with the certificate; are certificate and key exchanged?".to_owned()
        }
        (Wanted::Certificates, Kind::Certificate) => x509(options, file),
        (Wanted::Certificates, Kind::Pkcs7) => pkcs7(options, file),
        _ => return None,
    })
}

fn pkey(options: &str, file: &str) -> String {
    format!("`openssl pkey {options}-in {file} -out KEY.pem` writes it as it is needed")
}

fn x509(options: &str, file: &str) -> String {
    format!("`openssl x509 {options}-in {file} -out CERT.pem` writes it as it is needed")
}

fn pkcs7(options: &str, file: &str) -> String {
    format!("`openssl pkcs7 {options}-print_certs -in {file} -out CERT.pem` takes the certificates out")
}

/// A path, quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = avouch_text::clean(&path.display().to_string());
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '@' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
