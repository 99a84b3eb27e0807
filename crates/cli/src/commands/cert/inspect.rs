//! `avouch cert inspect`: what a file or a server shows, item by item.

use super::file;
use crate::commands::{exit_code, now};
use crate::error::CliError;
use crate::handshake::{self, Captured};
use crate::input::{self, Source};
use crate::inspect::{self, Check, Document, Inspection};
use crate::output::{self, Output};
use crate::roots::Roots;
use avouch_files::pem::PemError;
use avouch_spiffe::HostPort;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Looks into what a file holds or a server presents; with a `bundle` also verifies the chain against it.
pub(crate) async fn run(what: &Path, bundle: Option<&Path>, output: Output) -> Result<ExitCode, CliError> {
    let roots = bundle.map(|path| Roots::read(path, None)).transpose()?;
    let (document, server) = match Source::of(what) {
        Source::Host(target) => {
            let (document, server) = live(&target).await?;
            (document, Some(server))
        }
        Source::File(_) | Source::Stdin => (from_file(what)?, None),
    };
    let report = Report::of(document, server, roots.as_ref(), what);
    output.show(|| report.to_json(), || report.to_text())?;
    Ok(exit_code(report.passes()))
}

fn from_file(path: &Path) -> Result<Document, CliError> {
    let content = input::file_or_stdin(path)?;
    Document::parse(&content).map_err(|unreadable| file::refused(path, unreadable))
}

/// A server, as it shows itself beside its chain.
struct Server {
    target: HostPort,
    /// Whether it asks for a client certificate.
    asks: bool,
    /// The end of the handshake without a client certificate.
    ending: Result<(), String>,
}

async fn live(target: &HostPort) -> Result<(Document, Server), CliError> {
    let Captured { chain, asked, broken } = handshake::capture(target).await;
    let ending = match broken {
        Some(broken) => Err(format!("{}: {}", broken.reason, broken.detail)),
        None => Ok(()),
    };
    let Some(certificates) = chain else {
        let problem = ending.err().unwrap_or_else(|| "it presented no certificate".to_owned());
        return Err(CliError::NoChain { target: target.to_string(), problem });
    };
    let document = Document { certificates, ..Document::default() };
    Ok((document, Server { target: target.clone(), asks: asked, ending }))
}

/// All that there is to say.
struct Report {
    certificates: Vec<Inspection>,
    requests: Vec<inspect::RequestInspection>,
    bundle: Option<inspect::BundleInspection>,
    chain: Vec<Check>,
    server: Option<Server>,
    has_key: bool,
    /// Blocks that cannot be read, each in a line.
    damaged: Vec<String>,
}

impl Report {
    fn of(document: Document, server: Option<Server>, roots: Option<&Roots>, path: &Path) -> Self {
        let certificates: Vec<_> = document.certificates.iter().map(|der| inspect::inspect(der)).collect();
        let mut chain = Vec::new();
        if document.bundle.is_none() {
            chain = inspect::chain_checks(&document.certificates, now());
        }
        if let (Some(roots), Some(leaf)) = (roots, document.certificates.first()) {
            chain.push(inspect::against(&roots.store_for(leaf), &document.certificates, now()));
        }
        Self {
            certificates,
            requests: document.requests.iter().map(|der| inspect::inspect_request(der)).collect(),
            bundle: document.bundle.as_ref().map(inspect::inspect_bundle),
            chain,
            server,
            has_key: document.has_key,
            damaged: document.damaged.iter().map(|error: &PemError| error.describe(path)).collect(),
        }
    }

    /// Whether nothing failed. A server that wants a client certificate is expected to refuse us: that is not a failure.
    fn passes(&self) -> bool {
        self.certificates.iter().all(Inspection::passes)
            && self.requests.iter().all(inspect::RequestInspection::passes)
            && self.bundle.as_ref().is_none_or(inspect::BundleInspection::passes)
            && self.chain.iter().all(|check| check.failure.is_none())
            && self.damaged.is_empty()
    }

    fn to_text(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.server.as_ref().map(Server::to_text));
        parts.extend(self.bundle.as_ref().map(|bundle| bundle.to_text()));
        let of = self.certificates.len();
        parts.extend(self.certificates.iter().enumerate().map(|(at, one)| one.to_text(at + 1, of, now())));
        let of = self.requests.len();
        parts.extend(self.requests.iter().enumerate().map(|(at, one)| one.to_text(at + 1, of)));
        if !self.chain.is_empty() {
            parts.push(format!("chain\n{}", inspect::checks_to_text(&self.chain)));
        }
        parts.extend(self.damaged.iter().map(|error| format!("not readable: {error}\n")));
        if self.has_key {
            parts.push("There is a private key beside, which is not shown.\n".to_owned());
        }
        parts.join("\n")
    }

    /// A list for programs; what is not of one certificate is an entry of its own.
    fn to_json(&self) -> Value {
        let mut all: Vec<Value> = self.certificates.iter().map(|one| one.to_json(now())).collect();
        all.extend(self.requests.iter().map(inspect::RequestInspection::to_json));
        all.extend(self.bundle.as_ref().map(inspect::BundleInspection::to_json));
        if !self.chain.is_empty() {
            let ok = self.chain.iter().all(|check| check.failure.is_none());
            all.push(json!({ "kind": "chain", "ok": ok, "checks": inspect::checks_to_json(&self.chain) }));
        }
        all.extend(
            self.damaged.iter().map(|error| json!({ "kind": "not readable", "ok": false, "error": error })),
        );
        all.extend(self.server.as_ref().map(Server::to_json));
        Value::from(all)
    }
}

impl Server {
    fn to_text(&self) -> String {
        let (ending, asks) = match (&self.ending, self.asks) {
            (Ok(()), true) => ("accepted us without a certificate".to_owned(), "asked for"),
            (Ok(()), false) => ("accepted us without a certificate".to_owned(), "not asked for"),
            (Err(problem), true) => (problem.clone(), "asked for; we presented none"),
            (Err(problem), false) => (problem.clone(), "not asked for"),
        };
        let rows = [("client certificate", asks.to_owned()), ("ended", ending)];
        format!("server {}, whose chain nobody verified\n{}", self.target, output::fields(2, &rows))
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": "server", "target": self.target.to_string(), "asks_for_client_certificate": self.asks,
            "takes_none": self.ending.is_ok(), "ended": self.ending.as_ref().err(),
        })
    }
}
