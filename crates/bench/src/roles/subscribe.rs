//! Workloads that follow an issuer's trust stream, each with an identity and a connection of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_api::issuer::v1::{Generation, TrustUpdate, WatchTrustRequest, WatchTrustResponse};
use avouch_files::pem;
use avouch_identity::{Channel, Identity, Publisher, Snapshot, Svid};
use avouch_issuance::{PrivateKey, Profiles, Request, SigningAuthority, SystemEntropy};
use avouch_spiffe::trust_state::Changes;
use avouch_spiffe::{Bundle, BundleSet, Revocations};
use avouch_testkit::ca::{domain, id};
use avouch_time::clock;
use prost::Message as _;
use rustls_pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Commands, say};
use crate::clock::monotonic;
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "subscribe";

/// Streams that are being opened at the same time.
const OPENING: usize = 64;

/// Larger than any file of an issuer's authorities.
const LIMIT: u64 = 64 * 1024;

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The issuer's data directory: its signing authority vouches for the workloads.
    pub data: PathBuf,
    /// Where the issuer listens.
    pub address: SocketAddr,
    /// The number of the first workload.
    pub first: usize,
    /// The number of workloads.
    pub count: usize,
    /// Whether they know generations of the trust state.
    #[serde(default)]
    pub generations: bool,
}

/// What it says when every workload has received the bundle of the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command: to wait until every workload has received a bundle.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Wait {
    /// The bundle's sequence number, or the counter of the generation.
    pub sequence: u64,
    /// For how long, in milliseconds.
    pub milliseconds: u64,
}

/// When the workloads received it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// The times by [`monotonic`], in nanoseconds, in no order.
    pub at: Vec<u64>,
}

/// A bundle that a workload has received, parsed and acknowledged; or why it receives none any more.
type Receipt = Result<(u64, Duration), String>;

/// Follows the trust stream until the input ends.
///
/// # Errors
/// When a stream cannot be opened or ends, or a bundle does not come in time.
pub async fn run(options: Options) -> Result<(), Error> {
    let workloads = Workloads::below(&options.data)?;
    let (receipts, mut received) = mpsc::unbounded_channel();
    let opening = Arc::new(Semaphore::new(OPENING));
    for number in options.first..options.first.saturating_add(options.count) {
        let (publisher, identity) = workloads.identity(number)?;
        let url = format!("https://{}", options.address);
        let channel = identity.channel(&url, domain().issuer_id()).methods(avouch_api::CONTRACT.methods);
        let channel = channel.build().map_err(|error| failed(&error))?;
        let (receipts, opening) = (receipts.clone(), opening.clone());
        let held = options.generations.then(|| TrustHeld::new(number, number == options.first));
        tokio::spawn(async move {
            // The end of the run is nobody's error.
            if let Err(error) = follow(channel, publisher, held, &opening, &receipts).await {
                let _ = receipts.send(Err(error));
            }
        });
    }
    all(&mut received, options.count, |_| true).await?;
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(wait) = commands.next::<Wait>().await? {
        let within = Duration::from_millis(wait.milliseconds);
        let arrived = all(&mut received, options.count, |sequence| sequence == wait.sequence);
        let at = tokio::time::timeout(within, arrived).await.map_err(|_| {
            Error::other(format!("not every workload has the bundle {} after {within:?}", wait.sequence))
        })??;
        say(&Done { at })?;
    }
    Ok(())
}

/// The times of `count` receipts of the bundle that is waited for.
async fn all(
    received: &mut mpsc::UnboundedReceiver<Receipt>,
    count: usize,
    wanted: impl Fn(u64) -> bool,
) -> Result<Vec<u64>, Error> {
    let mut at = Vec::with_capacity(count);
    while at.len() < count {
        let receipt = received.recv().await.ok_or_else(|| Error::other("nobody is left"))?;
        let (sequence, time) = receipt.map_err(Error::other)?;
        if wanted(sequence) {
            at.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(at)
}

/// Follows one stream as a workload's identity does, and ends with it. The publisher keeps the identity as it is.
async fn follow(
    channel: Channel,
    _identity: Publisher,
    mut held: Option<TrustHeld>,
    opening: &Semaphore,
    receipts: &mpsc::UnboundedSender<Receipt>,
) -> Result<(), String> {
    let status = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
    let (answers, outgoing) = mpsc::channel(2);
    let acknowledge = async |sequence, held: Option<&TrustHeld>| {
        let answer = WatchTrustRequest {
            acknowledged_sequence: sequence,
            acknowledged: held.map(|held| held.generation),
            instance: held.map(|held| held.instance.to_vec()).unwrap_or_default(),
            ..WatchTrustRequest::default()
        };
        answers.send(answer).await.map_err(|_| "the stream has ended".to_owned())
    };
    let mut opening = Some(opening.acquire().await.map_err(|error| error.to_string())?);
    acknowledge(0, held.as_ref()).await?;
    let opened = IssuerClient::new(channel).watch_trust(ReceiverStream::new(outgoing)).await;
    let mut stream = opened.map_err(status)?.into_inner();
    while let Some(message) = stream.message().await.map_err(status)? {
        let sequence = match &mut held {
            Some(held) => held.apply(&message)?,
            None => parse(&message)?,
        };
        let _ = receipts.send(Ok((sequence, monotonic())));
        acknowledge(sequence, held.as_ref()).await?;
        opening = None;
    }
    drop(opening);
    Err("the stream has ended".to_owned())
}

/// The sequence number of the bundle that a message carries, after the work that a workload has with it.
fn parse(message: &WatchTrustResponse) -> Result<u64, String> {
    let bundle = message.bundle.as_ref().ok_or("there is no bundle")?;
    let parsed = Bundle::from_ders(domain(), &bundle.x509_authorities, bundle.sequence);
    Ok(parsed.map_err(|error| error.to_string())?.sequence())
}

/// The trust state of a workload that knows generations: as much of it as its changes cost.
struct TrustHeld {
    instance: [u8; 16],
    /// Whether it applies what it gets. One of a process does: the others would measure that one's core by doing the same, where
    /// workloads have machines of their own.
    applies: bool,
    generation: Generation,
    revocations: Revocations,
}

impl TrustHeld {
    fn new(number: usize, applies: bool) -> Self {
        let instance = u128::try_from(number).unwrap_or_default().to_be_bytes();
        Self { instance, applies, generation: Generation::default(), revocations: Revocations::default() }
    }

    /// Reads an update, and returns its counter.
    fn apply(&mut self, message: &WatchTrustResponse) -> Result<u64, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let update = TrustUpdate::decode(&*message.trust).map_err(|error| text(&error))?;
        self.generation = update.generation.ok_or("the update has no generation")?;
        if !self.applies {
            return Ok(u64::from(self.generation.counter));
        }
        self.revocations = match update.base {
            None => Revocations::decode(&update.revoked).map_err(|error| text(&error))?,
            Some(_) => {
                let changes =
                    Changes::decode(&update.revoked, &update.restored).map_err(|error| text(&error))?;
                self.revocations.apply(&changes).map_err(|error| text(&error))?
            }
        };
        if self.revocations.digest() != *update.digest {
            return Err("the state has gone astray".to_owned());
        }
        Ok(u64::from(self.generation.counter))
    }
}

/// What vouches for the workloads.
struct Workloads {
    profiles: Profiles,
    authority: SigningAuthority,
    bundle: Bundle,
}

impl Workloads {
    fn below(data: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = data.join(name);
            avouch_files::read(&path, LIMIT).map_err(Error::system(format!("read {}", path.display())))
        };
        let roots = pem::certificates(&read("root.crt")?).map_err(|error| failed(&error))?;
        let bundle = Bundle::from_ders(domain(), &roots, 0).map_err(|error| failed(&error))?;
        let signing = read("signing.pem")?;
        let key = PrivateKey::from_pkcs8_pem(&signing).map_err(|error| failed(&error))?;
        let chain = pem::certificates(&signing).map_err(|error| failed(&error))?;
        let certificate = chain.first().ok_or_else(|| Error::other("signing.pem has no certificate"))?;
        let authority = SigningAuthority::load(&bundle, certificate, key).map_err(|error| failed(&error))?;
        let profiles = Profiles::embedded().map_err(|error| failed(&error))?;
        Ok(Self { profiles, authority, bundle })
    }

    fn identity(&self, number: usize) -> Result<(Publisher, Identity), Error> {
        let key = PrivateKey::generate().map_err(|error| failed(&error))?;
        let request = Request::for_own_key(&key, id(&format!("/subscriber/{number}")));
        let now = clock::system().now();
        let checked = request.check(&self.profiles.svid, &self.authority, now, &SystemEntropy);
        let issued = checked.and_then(|checked| checked.sign(&self.authority));
        let chain = issued.map_err(|error| failed(&error))?.into_chain();
        let key = PrivateKeyDer::Pkcs8(key.pkcs8_der().to_vec().into());
        let svid = Svid::new(chain, &key).map_err(|error| failed(&error))?;
        let mut bundles = BundleSet::new();
        bundles.insert(self.bundle.clone());
        Ok(Identity::publisher(Snapshot::new(svid, bundles)))
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::other(avouch_text::with_causes(error).to_string())
}
