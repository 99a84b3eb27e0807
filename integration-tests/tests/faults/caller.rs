//! A program of a user's own that calls the ledger, and prints a failure as such programs do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use avouch_identity::{Identity, IdentityConfig, IssuerConfig, Publisher, Snapshot, Svid};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId};
use avouch_time::clock::{Clock, SystemClock};
use market_api::ledger::v1::GetTotalsRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{World, private};

/// A program with an identity.
pub(crate) struct Caller {
    identity: Identity,
    ahead: Arc<AtomicI64>,
    /// Of an identity that nobody keeps fresh.
    _publisher: Option<Publisher>,
}

/// The files of an identity that somebody else keeps.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) bundle: PathBuf,
    /// When the certificate ends.
    pub(crate) not_after: SystemTime,
}

impl Caller {
    /// From the issuer, kept fresh.
    pub(crate) async fn enrolled(world: &World, name: &str) -> Self {
        Self::with_clock(world, name, "1h", 0).await
    }

    /// From the issuer, with certificates of this life, and with a clock that is ahead by so many seconds.
    pub(crate) async fn with_clock(world: &World, name: &str, life: &str, ahead: i64) -> Self {
        let ahead = Arc::new(AtomicI64::new(ahead));
        let clock = Arc::new(WrongClock(ahead.clone()));
        let starter = Identity::starter(config(world, name, Some(life), None)).clock(clock);
        Self { identity: starter.start().await.unwrap(), ahead, _publisher: None }
    }

    /// Sets the clock to be ahead by so many seconds, from now on.
    pub(crate) fn put_clock(&mut self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
    }

    /// With what the files hold, whatever it is worth: a source of its own that looks at nothing, as other libraries have
    /// them. The one that reads files would not begin with what no peer takes.
    pub(crate) fn with_files(files: &Files) -> Self {
        let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().collect::<Result<Vec<_>, _>>();
        let svid = Svid::new(chain.unwrap(), &PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap();
        let domain = svid.spiffe_id().trust_domain().clone();
        let bundle = Bundle::from_json(domain, &std::fs::read(&files.bundle).unwrap()).unwrap();
        let (publisher, identity) = Identity::publisher(Snapshot::new(svid, BundleSet::from_iter([bundle])));
        Self { identity, ahead: Arc::default(), _publisher: Some(publisher) }
    }

    /// Reads the ledger's totals; the line is what is printed if that fails.
    pub(crate) async fn totals(&self, ledger: SocketAddr) -> Result<(), String> {
        self.totals_of(ledger, "ledger").await
    }

    /// As [`Caller::totals`], for a server that must be somebody.
    pub(crate) async fn totals_of(&self, address: SocketAddr, expected: &str) -> Result<(), String> {
        let expected: SpiffeId = format!("spiffe://market.example/{expected}").parse().unwrap();
        let channel = self.identity.channel(&format!("https://{address}"), expected).build().unwrap();
        match LedgerClient::new(channel).get_totals(GetTotalsRequest {}).await {
            Ok(_) => Ok(()),
            Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

fn config(world: &World, name: &str, life: Option<&str>, state: Option<&Path>) -> IdentityConfig {
    IdentityConfig::Issuer(IssuerConfig {
        address: world.issuer.address().to_string(),
        join_token_file: Some(world.token(name, life)),
        state_dir: state.map(Path::to_path_buf),
        addresses: Vec::new(),
        timeout: Duration::from_secs(5),
    })
}

/// The certificate, key and bundle that a workload got, as files.
pub(crate) async fn files(world: &World, name: &str, life: Option<&str>) -> Files {
    let state = world.path(&format!("{name}-state"));
    let identity = Identity::start(config(world, name, life, Some(&state))).await.unwrap();
    let not_after = identity.snapshot().svid.not_after();
    drop(identity);
    let dir = world.path(&format!("{name}-files"));
    private(&dir);
    let both = std::fs::read_to_string(state.join("svid.pem")).unwrap();
    let chain = both.find("-----BEGIN CERTIFICATE-----").unwrap();
    let files = Files {
        certificate: dir.join("chain.pem"),
        key: dir.join("key.pem"),
        bundle: dir.join("bundle.json"),
        not_after,
    };
    std::fs::write(&files.key, &both[..chain]).unwrap();
    std::fs::write(&files.certificate, &both[chain..]).unwrap();
    std::fs::copy(state.join("bundle.json"), &files.bundle).unwrap();
    files
}

impl Files {
    /// Waits until the certificate is over.
    pub(crate) async fn expired(&self) {
        // Certificates count in whole seconds, the last one included.
        while SystemClock.now() < self.not_after + Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The system's clock, ahead by as many seconds as it holds.
#[derive(Debug)]
struct WrongClock(Arc<AtomicI64>);

impl Clock for WrongClock {
    fn now(&self) -> SystemTime {
        let ahead = self.0.load(Ordering::SeqCst);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemClock.now() - by } else { SystemClock.now() + by }
    }
}
