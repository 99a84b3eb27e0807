//! A TCP proxy for fault injection: forwards connections, and delays them, simulates packet loss, or cuts them when
//! told to.
//!
//! ```text
//! proxy pass PORT HOST:PORT      passes connections to PORT on to HOST:PORT
//! proxy set SETTING...           tells the running one; without settings: as good as new
//! ```
//!
//! SETTING is one of `delay=MS` (each way), `loss=N` (every Nth segment of a connection is lost, and comes a
//! retransmission later, with all that is behind it), `silent` (nothing arrives any more, and nobody is told) and
//! `reset` (what is open is reset at once, and so is what comes). TCP hides loss from whoever reads it: what is left of it
//! is time, and that is what this makes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONTROL: &str = "/run/avouch/proxy.sock";

/// What fits into one segment on Ethernet.
const SEGMENT: usize = 1_460;

/// Segments under way in one direction.
const WINDOW: usize = 256;

/// Linux waits at least this long before it sends a segment again.
const RETRANSMISSION: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Faults {
    delay: Duration,
    lose_every: Option<u64>,
    silent: bool,
    reset: bool,
}

impl Faults {
    fn parse(settings: &str) -> Result<Self, Error> {
        let mut faults = Self::default();
        for setting in settings.split_whitespace() {
            match setting.split_once('=') {
                Some(("delay", ms)) => faults.delay = Duration::from_millis(ms.parse()?),
                Some(("loss", every)) => faults.lose_every = Some(every.parse()?),
                None if setting == "silent" => faults.silent = true,
                None if setting == "reset" => faults.reset = true,
                _ => return Err(format!("'{setting}' is no setting").into()),
            }
        }
        Ok(faults)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[&str]) -> Result<(), Error> {
    match arguments {
        ["pass", port, target] => pass(port.parse()?, target).await,
        ["set", settings @ ..] => tell(&settings.join(" ")).await,
        _ => Err("usage: proxy pass PORT HOST:PORT | proxy set SETTING…".into()),
    }
}

async fn tell(settings: &str) -> Result<(), Error> {
    Faults::parse(settings)?;
    let mut control = UnixStream::connect(CONTROL).await?;
    control.write_all(settings.as_bytes()).await?;
    control.shutdown().await?;
    let mut answer = String::new();
    control.read_to_string(&mut answer).await?;
    if answer == "done" { Ok(()) } else { Err("the proxy did not take it".into()) }
}

async fn pass(port: u16, target: &str) -> Result<(), Error> {
    let (set, faults) = watch::channel(Faults::default());
    let _ = std::fs::remove_file(Path::new(CONTROL)); // a container's second life
    let control = UnixListener::bind(CONTROL)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    writeln!(io::stdout(), "{{\"message\":\"listening\",\"port\":{port}}}")?;
    let target: Arc<str> = target.into();
    loop {
        tokio::select! {
            connection = control.accept() => obey(connection?.0, &set).await?,
            connection = listener.accept() => {
                let (client, target, faults) = (connection?.0, Arc::clone(&target), faults.clone());
                tokio::spawn(async move {
                    // The peers learn of the error when their connection ends.
                    let _ = connect(client, &target, faults).await;
                });
            }
        }
    }
}

async fn obey(mut control: UnixStream, set: &watch::Sender<Faults>) -> Result<(), Error> {
    let mut settings = String::new();
    control.read_to_string(&mut settings).await?;
    set.send_replace(Faults::parse(&settings)?);
    control.write_all(b"done").await?;
    Ok(())
}

/// Both directions, until one has failed or both have ended, or all is to be reset.
async fn connect(client: TcpStream, target: &str, faults: watch::Receiver<Faults>) -> Result<(), Error> {
    // Closing then sends a reset instead of an end; ends of one direction are passed on below.
    client.set_zero_linger()?;
    let mut resets = faults.clone();
    let conversation = async {
        let server = TcpStream::connect(target).await?;
        server.set_zero_linger()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::try_join!(
            direction(from_client, to_server, faults.clone()),
            direction(from_server, to_client, faults.clone()),
        )?;
        Ok(())
    };
    tokio::select! {
        outcome = conversation => outcome,
        _ = resets.wait_for(|faults| faults.reset) => Ok(()),
    }
}

/// Reads, and writes in the same order when the time of each segment has come.
async fn direction(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: watch::Receiver<Faults>,
) -> Result<(), Error> {
    let (under_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(WINDOW);
    let mut wire = faults.clone();
    let sending = async {
        let (mut count, mut last) = (0_u64, Instant::now());
        loop {
            let mut segment = vec![0; SEGMENT];
            let length = from.read(&mut segment).await?;
            segment.truncate(length);
            count += 1;
            let now = *faults.borrow();
            let lost = now.lose_every.is_some_and(|every| count % every == 0);
            let retransmitted = if lost { now.delay * 2 + RETRANSMISSION } else { Duration::ZERO };
            last = last.max(Instant::now() + now.delay + retransmitted);
            if length == 0 || under_way.send((last, segment)).await.is_err() {
                drop(under_way);
                return Ok::<_, Error>(());
            }
        }
    };
    let receiving = async {
        while let Some((due, segment)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            wire.wait_for(|faults| !faults.silent).await?;
            to.write_all(&segment).await?;
        }
        to.shutdown().await?;
        Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(())
}
