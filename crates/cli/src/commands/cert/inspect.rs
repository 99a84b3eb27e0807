//! `avouch cert inspect`: what a file or a server shows, item by item.

use super::refused;
use crate::args::{Arguments, CertInspect};
use crate::commands::now;
use crate::error::CliError;
use crate::handshake::{self, Captured};
use crate::inspect::{self, Check, Document, Inspection};
use crate::roots::Roots;
use crate::target::{Source, Target};
use crate::{input, output};
use avouch_files::pem::PemError;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub(super) async fn run(arguments: &Arguments, args: &CertInspect) -> Result<ExitCode, CliError> {
    let roots = args.bundle.as_deref().map(|path| Roots::read(path, None)).transpose()?;
    let (document, server) = match Source::of(&args.what) {
        Source::Host(target) => {
            let (document, server) = live(&target).await?;
            (document, Some(server))
        }
        Source::File(_) | Source::Stdin => (from_file(&args.what)?, None),
    };
    let found = Found::of(document, server, roots.as_ref(), &args.what);
    if arguments.json {
        output::json(&found.to_json())?;
    } else {
        output::text(&found.to_text())?;
    }
    Ok(if found.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn from_file(path: &Path) -> Result<Document, CliError> {
    let content = input::file_or_stdin(path)?;
    Document::parse(&content).map_err(|unreadable| refused(path, unreadable))
}

/// What a server said beside its chain.
struct Server {
    target: Target,
    asks: bool,
    /// How it ended without a client certificate.
    ending: Result<(), String>,
}

async fn live(target: &Target) -> Result<(Document, Server), CliError> {
    let Captured { chain, asked, ending } = handshake::capture(target).await;
    let ending = ending.map_err(|broken| format!("{}: {}", broken.reason, broken.detail));
    let Some(certificates) = chain else {
        let problem = ending.err().unwrap_or_else(|| "it presented no certificate".to_owned());
        return Err(CliError::NoChain { target: target.to_string(), problem });
    };
    let document = Document { certificates, ..Document::default() };
    Ok((document, Server { target: target.clone(), asks: asked, ending }))
}

/// All that there is to say.
struct Found {
    certificates: Vec<Inspection>,
    requests: Vec<inspect::RequestInspection>,
    bundle: Option<inspect::BundleInspection>,
    chain: Vec<Check>,
    server: Option<Server>,
    has_key: bool,
    /// Blocks that cannot be read, each in a line.
    damaged: Vec<String>,
}

impl Found {
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
            parts.push(format!("chain\n{}", Inspection::checks_to_text(&self.chain)));
        }
        parts.extend(self.damaged.iter().map(|error| format!("not readable: {error}\n")));
        if self.has_key {
            parts.push("There is a private key beside, which is not shown.\n".to_owned());
        }
        parts.join("\n")
    }

    /// A list, as it always was; what is not of one certificate is an entry of its own.
    fn to_json(&self) -> Value {
        let mut all: Vec<Value> = self.certificates.iter().map(|one| one.to_json(now())).collect();
        all.extend(self.requests.iter().map(inspect::RequestInspection::to_json));
        all.extend(self.bundle.as_ref().map(inspect::BundleInspection::to_json));
        if !self.chain.is_empty() {
            let ok = self.chain.iter().all(|check| check.failure.is_none());
            all.push(json!({ "kind": "chain", "ok": ok, "checks": Inspection::checks_to_json(&self.chain) }));
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
            (Ok(()), true) => ("took us without a certificate".to_owned(), "asked for"),
            (Ok(()), false) => ("takes everybody".to_owned(), "not asked for"),
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
