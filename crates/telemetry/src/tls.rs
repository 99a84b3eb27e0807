//! TLS towards the collector, from the standard variables.
//!
//! There is no fallback to the machine's certificate store: the CA of a collector over TLS must be configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use avouch_files::pem;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use tonic::transport::{ClientTlsConfig, Identity};

use crate::environment::{Broken, Environment, NO_EXPORT};
use crate::files;

/// The variables of TLS, without their prefix.
const NAMES: [&str; 3] = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"];

/// Whether the collector's CA must be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ca {
    Needed,
    IfGiven,
}

/// The TLS settings for the collector. All files are read and checked, so that every fault is reported at once.
pub(crate) fn config(env: &mut Environment<'_>, ca: Ca) -> Result<ClientTlsConfig, Broken> {
    provider();
    let roots = roots(env, ca);
    let identity = identity(env);
    let config = ClientTlsConfig::new().trust_anchors(roots?.roots);
    Ok(match identity? {
        Some(identity) => config.identity(identity),
        None => config,
    })
}

/// Warns that the TLS variables are not used, when there are any.
///
/// Specification: the certificate file "should only be used for a secure connection".
pub(crate) fn is_unused(env: &mut Environment<'_>) {
    let given: Vec<_> = NAMES.iter().filter_map(|name| env.otlp(name)).collect();
    if !given.is_empty() {
        let verb = if given.len() == 1 { "is" } else { "are" };
        env.warn(
            given.join(", "),
            format!("{verb} not used, since the endpoint is not https"),
            "spans travel unencrypted",
        );
    }
}

/// The process's cryptography. One is installed when there is none, since tonic would otherwise choose among those
/// that are compiled in, and panics when it cannot.
fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Harmless race: another thread may have installed one meanwhile, which is used then.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn roots(env: &mut Environment<'_>, ca: Ca) -> Result<RootCertStore, Broken> {
    let Some((variable, path)) = env.otlp_file("CERTIFICATE") else {
        if ca == Ca::IfGiven {
            return Ok(RootCertStore::empty());
        }
        env.warn(
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "is not set, and an endpoint that is not http:// needs it: a file with the collector's CA",
            NO_EXPORT,
        );
        return Err(Broken);
    };
    read_roots(&path).map_err(|fault| {
        env.warn(variable, fault, NO_EXPORT);
        Broken
    })
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(files::certificates(&files::read(path)?, path)?) {
        roots
            .add(certificate)
            .map_err(|_| format!("names {}, whose certificate {number} cannot be used", path.display()))?;
    }
    Ok(roots)
}

/// The client's certificate and key, if both are given; one alone is a fault.
fn identity(env: &mut Environment<'_>) -> Result<Option<Identity>, Broken> {
    let (certificate, key) = match (env.otlp_file("CLIENT_CERTIFICATE"), env.otlp_file("CLIENT_KEY")) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some((alone, _)), None) => return Err(incomplete(env, alone, "OTEL_EXPORTER_OTLP_CLIENT_KEY")),
        (None, Some((alone, _))) => {
            return Err(incomplete(env, alone, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"));
        }
    };
    let chain = judged(env, &certificate, files::certificates);
    let private = judged(env, &key, files::private_key);
    let (chain, private) = (chain?, private?);
    let identity = to_pem(&chain, &private);
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        let ((certificate, certificate_path), (key, key_path)) = (&certificate, &key);
        match error {
            Error::InconsistentKeys(_) => {
                let fault = format!("names {}, which is not the key of {certificate}", key_path.display());
                env.warn(key, fault, NO_EXPORT);
            }
            Error::InvalidCertificate(_) => {
                let fault = format!("names {}, whose certificate cannot be used", certificate_path.display());
                env.warn(certificate, fault, NO_EXPORT);
            }
            _ => env.warn(key, format!("names {}, whose key cannot be used", key_path.display()), NO_EXPORT),
        }
        Broken
    })?;
    Ok(Some(identity))
}

/// As tonic takes it: it reads PEM by itself, and less of it than is read here.
fn to_pem(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Identity {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let chain = pem::write_certificates(chain.iter().map(AsRef::as_ref));
    Identity::from_pem(chain, pem::encode_secret(label, key.secret_der()).as_bytes())
}

fn incomplete(env: &mut Environment<'_>, alone: String, missing: &str) -> Broken {
    env.warn(alone, format!("is set and {missing} is not, and each needs the other"), NO_EXPORT);
    Broken
}

/// What a file holds.
fn judged<T>(
    env: &mut Environment<'_>,
    (variable, path): &(String, PathBuf),
    parse: impl FnOnce(&[u8], &Path) -> Result<T, String>,
) -> Result<T, Broken> {
    files::read(path).and_then(|octets| parse(&octets, path)).map_err(|fault| {
        env.warn(variable, fault, NO_EXPORT);
        Broken
    })
}
