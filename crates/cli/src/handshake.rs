//! A connection to a server, made one step at a time, each with what it showed and how long it took.
//!
//! Meets the server as a channel of ours would: TLS 1.3, h2, the same verdict in the same words. Carries no call.

mod advice;
mod ending;
mod http2;
mod report;
mod tls;

use crate::inspect;
use crate::roots::{OwnIdentity, Roots};
use crate::target::Target;
use avouch_identity::crypto_provider;
use avouch_spiffe::clock::{Clock, SystemClock};
use avouch_spiffe::{Reason, SpiffeId};
use ending::{Broken, Ending};
use http2::FirstWord;
pub(crate) use report::Report;
use report::Step;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::{Asked, Manner, Recorder};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// For each of: resolving and connecting, the handshake, the first word. A channel of ours waits as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// How to shake hands.
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) identity: Option<OwnIdentity>,
    pub(crate) roots: Option<Roots>,
    pub(crate) expect: Option<SpiffeId>,
}

/// Goes as far as it gets.
pub(crate) async fn run(plan: &Plan) -> Report {
    let mut report = Report::new(plan.target.to_string());
    let manner = Manner {
        roots: plan.roots.clone(),
        expect: plan.expect.clone(),
        certified: plan.identity.as_ref().map(|own| own.certified.clone()),
        name_host: false,
    };
    let outcome = walk(plan, Recorder::new(manner), &mut report).await;
    report.end(outcome);
    report
}

/// The chain that a server presents to a stranger, without believing a word of it, and what it thinks of strangers.
pub(crate) async fn capture(target: &Target) -> Captured {
    let mut report = Report::new(target.to_string());
    let manner = Manner { roots: None, expect: None, certified: None, name_host: true };
    let recorder = Recorder::new(manner);
    let plan = Plan { target: target.clone(), identity: None, roots: None, expect: None };
    let outcome = walk(&plan, recorder.clone(), &mut report).await;
    let chain = recorder.presented().map(|presented| presented.chain.clone());
    Captured { chain, asked: recorder.client_certificate() != Asked::No, ending: outcome.map(|_| ()) }
}

/// What a stranger sees of a server.
pub(crate) struct Captured {
    /// Leaf first; `None`: it did not come to that.
    pub(crate) chain: Option<Vec<Vec<u8>>>,
    /// Whether it asked for a client certificate.
    pub(crate) asked: bool,
    /// How the connection ended, without a client certificate.
    pub(crate) ending: Result<(), Broken>,
}

async fn walk(plan: &Plan, recorder: Arc<Recorder>, report: &mut Report) -> Result<Ending, Broken> {
    let target = &plan.target;
    let started = Instant::now();
    let addresses = within(tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let addresses: Vec<SocketAddr> = match addresses {
        Ok(found) => found.collect(),
        Err(error) => return Err(Broken::unresolved(target, &error)),
    };
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    report.push(Step::done("resolve", started, shown.join(", ")));

    let started = Instant::now();
    let tcp = connect(target, &addresses).await?;
    let (local, remote) = (tcp.local_addr().ok(), tcp.peer_addr().ok());
    report.push(Step::done(
        "connect",
        started,
        format!("{} from {}", shown_address(remote), shown_address(local)),
    ));

    report.push(Step::listed("offer", offer(plan)));
    let started = Instant::now();
    let shaken = shake(plan, &recorder, tcp).await;
    let negotiated = shaken.as_ref().ok().map(|stream| negotiated(stream.get_ref().1));
    if let Some(negotiated) = negotiated {
        report.push(Step::done("server hello", started, negotiated));
    }
    server(plan, &recorder, report);
    let ended = match shaken {
        Ok(mut stream) => finish(plan, &recorder, &mut stream, report).await,
        Err(error) => Err(Broken::handshake(plan, &recorder, &error)),
    };
    ended.map_err(|broken| broken.between(local, remote))
}

async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, Broken> {
    let attempts = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    within(attempts).await.map_err(|error| Broken::unconnected(target, &error))
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let outcome = tokio::time::timeout(PATIENCE, work).await;
    outcome.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

async fn shake(plan: &Plan, recorder: &Arc<Recorder>, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let config = recorder.config().map_err(io::Error::other)?;
    // Only a name is ever sent; identities are verified, not names.
    let name = ServerName::try_from(plan.target.host.clone());
    let name = name.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
    within(TlsConnector::from(config).connect(name, tcp)).await
}

/// What the ClientHello holds.
fn offer(plan: &Plan) -> Vec<String> {
    let provider = crypto_provider();
    let groups: Vec<_> = provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
    let suites: Vec<_> = provider
        .cipher_suites
        .iter()
        .filter(|suite| suite.tls13().is_some())
        .map(|suite| format!("{:?}", suite.suite()))
        .collect();
    let own = match &plan.identity {
        Some(own) => format!("certificate of {}", own.svid.spiffe_id()),
        None => "no certificate".to_owned(),
    };
    vec![
        format!("TLS 1.3, ALPN h2, {own}"),
        format!("groups {}", groups.join(" ")),
        format!("suites {}", suites.join(" ")),
    ]
}

/// What the server chose.
fn negotiated(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().map(|version| match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    });
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let group = connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let alpn = connection.alpn_protocol().map(|protocol| protocol.escape_ascii().to_string());
    let unknown = || "unknown".to_owned();
    format!(
        "{}, group {}, suite {}, ALPN {}",
        version.unwrap_or_else(unknown),
        group.unwrap_or_else(unknown),
        suite.unwrap_or_else(unknown),
        alpn.unwrap_or_else(|| "none".to_owned())
    )
}

/// The server's chain, with the items that come of it.
fn server(plan: &Plan, recorder: &Recorder, report: &mut Report) {
    let Some(presented) = recorder.presented() else { return };
    let now = SystemClock.now();
    let certificates: Vec<_> = presented.chain.iter().map(|der| inspect::inspect(der)).collect();
    let lines = certificates.iter().map(|certificate| certificate.to_line(now)).collect();
    report.push(Step::listed("server chain", lines));
    let mut checks: Vec<_> =
        certificates.into_iter().next().map(|leaf| leaf.into_checks()).unwrap_or_default();
    checks.extend(inspect::chain_checks(&presented.chain, now));
    let whose = plan.roots.as_ref().map(Roots::whose).unwrap_or_default();
    let (ok, words) = match &presented.verdict {
        None => (None, "not verified: there is no --bundle and no --identity to verify it with".to_owned()),
        Some(Ok(peer)) => {
            (Some(true), format!("accepted as {}, by {whose} and this machine's clock", peer.spiffe_id()))
        }
        Some(Err(rejection)) => (Some(false), rejection.to_string()),
    };
    report.push(Step::judged("verify", ok, words, checks));
}

/// From the end of the handshake on: what the server thinks of us.
async fn finish(
    plan: &Plan,
    recorder: &Recorder,
    stream: &mut TlsStream<TcpStream>,
    report: &mut Report,
) -> Result<Ending, Broken> {
    let asked = recorder.client_certificate();
    let words = match (asked, &plan.identity) {
        (Asked::No, _) => "the server did not ask for one".to_owned(),
        (Asked::Nothing, Some(_)) => {
            "the server asked; none was presented to a server that is not verified".to_owned()
        }
        (Asked::Nothing, None) => {
            "the server asked; there is none to present, for want of --identity".to_owned()
        }
        (Asked::Presented, own) => {
            let id = own.as_ref().map(|own| own.svid.spiffe_id().to_string()).unwrap_or_default();
            format!("the server asked; presented {id}")
        }
    };
    report.push(Step::said("client certificate", words));
    if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN_H2) {
        let detail = "the server did not agree on h2, which gRPC needs".to_owned();
        return Err(Broken::new("server hello", Reason::NoApplicationProtocol, detail));
    }
    let started = Instant::now();
    let first = within(async { Ok(http2::first_word(stream).await) }).await;
    match first {
        Ok(FirstWord::Settings(settings)) => {
            let shown: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let shown = if shown.is_empty() { "defaults".to_owned() } else { shown.join(" ") };
            report.push(Step::done("http/2", started, format!("SETTINGS received: {shown}")));
            Ok(Ending::of(plan, recorder, asked))
        }
        Ok(FirstWord::NotHttp2) => {
            let detail = "the server agreed on h2 and began with something else".to_owned();
            Err(Broken::new("http/2", Reason::NoApplicationProtocol, detail))
        }
        Ok(FirstWord::Alert(alert)) => Err(Broken::refused(plan, asked, alert)),
        Ok(FirstWord::Closed(error)) => Err(Broken::closed(asked, &error)),
        Err(_elapsed) => {
            let detail = format!("no SETTINGS within {PATIENCE:?} of the handshake");
            Err(Broken::new("http/2", Reason::HandshakeTimeout, detail))
        }
    }
}

fn shown_address(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}
