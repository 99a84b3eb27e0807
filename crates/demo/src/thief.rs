//! A thief: a copy of the stored identity of a service, used as its owner would use it.
//!
//! It runs the identity library unchanged, in another process than its owner: it renews with a key of its own, and follows
//! the ledger. Nothing of it is forged, so only a revocation stops it. It holds no secret of its own beyond the copied
//! directory, which lies among the files of the run and ends with it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_api::admin::v1::Certificate;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Attempt, Call};
use avouch_attacker::issuer::{self, Recovery};
use avouch_attacker::tls::Approach;
use avouch_attacker::{Error, grpc};
use avouch_files::{create_private_dir, write_secret};
use avouch_identity::{Channel, Identity, reason};
use market_api::ledger::v1::TailRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;
use serde_json::Value;

use crate::records;
use crate::setup::{Market, SetupError};

/// The name of its directory among those of the processes.
const NAME: &str = "thief";

/// The files that make an identity: SVID with key, and what it trusts.
const STOLEN_FILES: [&str; 2] = ["svid.pem", "bundle.json"];

/// The pause before the ledger is asked again: it is killed on purpose in between.
const AGAIN: Duration = Duration::from_millis(50);

/// Reasons with which a stream of somebody revoked ends.
const CUT: [&str; 2] = ["CERT_REVOKED", "IDENTITY_REVOKED"];

/// The holder of a stolen identity.
#[derive(Debug)]
pub struct Thief {
    identity: Identity,
    dir: PathBuf,
    stolen: String,
    /// What was copied, kept for use after the copy has been renewed.
    loot: String,
}

/// The end of a stream that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// When the thief saw it, in milliseconds after the run began.
    pub ms: u64,
    /// The reason it was told.
    pub reason: String,
    /// Postings that it had read by then.
    pub postings: u64,
    /// Whether a stream was open, rather than refused when it was opened.
    pub was_open: bool,
}

/// The connections that a service had with certain certificates, by its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closed {
    /// Connections that the service ended, or did not let open, because they were revoked.
    pub connections: u64,
    /// When the last of them was closed, RFC 3339.
    pub last: Option<String>,
}

impl Thief {
    /// Copies the stored identity of a service, and begins to use it.
    ///
    /// # Errors
    /// When there is nothing to steal, or it is of no use.
    pub async fn steal(market: &Market, service: &str) -> Result<Self, SetupError> {
        let action =
            |source| SetupError::System { action: format!("copy the identity of {service}"), source };
        let dir = market.paths.state(NAME);
        create_private_dir(&market.paths.of_process(NAME)).map_err(io::Error::other).map_err(action)?;
        copy(&market.paths.state(service), &dir).map_err(action)?;
        let loot = std::fs::read_to_string(dir.join("svid.pem")).map_err(action)?;
        let identity = market.stored_identity(NAME).await?;
        let stolen = serial(&identity);
        Ok(Self { identity, dir, stolen, loot })
    }

    /// The serial number of the stolen certificate.
    #[must_use]
    pub fn stolen(&self) -> &str {
        &self.stolen
    }

    /// The serial number of the certificate that it uses.
    #[must_use]
    pub fn serial(&self) -> String {
        serial(&self.identity)
    }

    /// A channel of its own to a service.
    ///
    /// # Errors
    /// When the service has no address.
    pub fn channel(&self, market: &Market, service: &str) -> Result<Channel, String> {
        crate::audit::channel(market, &self.identity, service)
    }

    /// Reads the ledger until it is cut off, which it notes; never ends.
    pub async fn follow(
        &self,
        ledger: Channel,
        now: impl Fn() -> u64,
        cut: &RefCell<Option<Cut>>,
    ) -> Infallible {
        let mut postings = 0;
        loop {
            let request = TailRequest { after_sequence: postings, stop_at_end: false };
            let (was_open, status) = match LedgerClient::new(ledger.clone()).tail(request).await {
                Ok(answer) => {
                    let mut stream = answer.into_inner();
                    let end = loop {
                        match stream.message().await {
                            Ok(Some(_)) => postings += 1,
                            Ok(None) => break None,
                            Err(status) => break Some(status),
                        }
                    };
                    (true, end)
                }
                Err(status) => (false, Some(status)),
            };
            let told = status.as_ref().and_then(reason).map(|reason| reason.as_str());
            if let Some(reason) = told.filter(|reason| CUT.contains(reason)) {
                let first = Cut { ms: now(), reason: reason.to_owned(), postings, was_open };
                cut.borrow_mut().get_or_insert(first);
                return std::future::pending().await;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What it tries afterwards: a connection and a renewal with the newest certificate it got, and a recovery with the
    /// one it stole.
    ///
    /// # Errors
    /// When the attempts can’t be made.
    pub async fn try_again(&self, market: &Market) -> Result<[Attempt; 3], Error> {
        let newest = std::fs::read_to_string(self.dir.join("svid.pem"))?;
        let (newest, _) = Credentials::stolen(&newest)?;
        let (stolen, key) = Credentials::stolen(&self.loot)?;
        let (ledger, issuer) = (market.address("ledger")?.grpc, market.address("issuer")?.grpc);
        let tail = Call { path: "/market.ledger.v1.Ledger/Tail", ..Call::default() };
        let connection = grpc::attempt(ledger, Approach::showing(Some(&newest)), &tail).await?;
        let renewal = issuer::renew(issuer, Some(&newest), &[]).await?;
        let mut recovery = Recovery::begin(issuer).await?;
        let proven = recovery.prove(&stolen, &key)?;
        Ok([connection, renewal, recovery.send(&proven).await?])
    }
}

/// Certificates that descend from `serial`, itself included.
fn descendants(serial: &str, certificates: &[Certificate]) -> BTreeSet<String> {
    let mut found = BTreeSet::from([serial.to_owned()]);
    loop {
        let below =
            certificates.iter().filter(|one| found.contains(&one.parent)).map(|one| one.serial.clone());
        let more: Vec<String> = below.filter(|serial| !found.contains(serial)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Certificates of the thief of `stolen`: those that come of a renewal by it. Its owner is away for as long as it could
/// renew by it.
#[must_use]
pub fn thieves(stolen: &str, certificates: &[Certificate]) -> BTreeSet<String> {
    let first = certificates.iter().filter(|one| one.parent == stolen && one.origin == "renew");
    first.flat_map(|one| descendants(&one.serial, certificates)).collect()
}

/// The connections that a service ended because these certificates were revoked.
#[must_use]
pub fn closed(log: &Path, serials: &BTreeSet<String>) -> Closed {
    let lines = records::read(log);
    let text = |line: &Value, name| records::field(line, name).unwrap_or_default().to_owned();
    let theirs = lines.iter().filter(|line| text(line, "message") == "connection accepted");
    let theirs = theirs.filter(|line| serials.contains(&text(line, "serial")));
    let theirs: BTreeSet<String> = theirs.map(|line| text(line, "connection_id")).collect();
    let ended = lines.iter().filter(|line| {
        text(line, "message") == "connection closed"
            && CUT.contains(&text(line, "reason").as_str())
            && theirs.contains(&text(line, "connection_id"))
    });
    let times: Vec<String> = ended.map(|line| text(line, "timestamp")).collect();
    Closed { connections: u64::try_from(times.len()).unwrap_or(u64::MAX), last: times.into_iter().max() }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    create_private_dir(to).map_err(io::Error::other)?;
    for name in STOLEN_FILES {
        write_secret(&to.join(name), &std::fs::read(from.join(name))?)?;
    }
    Ok(())
}

fn serial(identity: &Identity) -> String {
    identity.snapshot().svid.leaf().serial().to_owned()
}
