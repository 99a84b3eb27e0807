//! Listens on a run's network as its host can: with tshark on the bridge.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Failure, Outcome, World, ensure};

/// A capture that goes on.
pub(crate) struct Capture {
    tshark: Child,
    file: PathBuf,
}

/// What was captured.
pub(crate) struct Heard {
    file: PathBuf,
    octets: Vec<u8>,
}

impl Capture {
    /// Begins to listen; `None`, said loudly, where this machine or its user cannot.
    pub(crate) async fn begin(world: &World) -> Outcome<Option<Self>> {
        let file = world.scratch().join("capture.pcapng");
        let bridge = world.bridge().await?;
        let tshark = Command::new("tshark")
            .args(["-q", "-i", &bridge, "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut tshark = match tshark {
            Ok(tshark) => tshark,
            Err(error) => return unavailable(&format!("tshark: {error}")),
        };
        let mut said = BufReader::new(tshark.stderr.take().ok_or_else(|| Failure::new("no stderr"))?).lines();
        let begun = tokio::time::timeout(Duration::from_secs(20), async {
            let mut all = String::new();
            while let Ok(Some(line)) = said.next_line().await {
                if line.contains("Capturing on") {
                    return Ok(());
                }
                all.push_str(&line);
            }
            Err(all)
        });
        match begun.await {
            Ok(Ok(())) => {}
            Ok(Err(said)) => return unavailable(&format!("tshark ended: {said}")),
            Err(_elapsed) => return unavailable("tshark does not begin"),
        }
        // It writes on; nobody reads what it says of that.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Ok(Some(Self { tshark, file }))
    }

    /// Whether it has heard this text so far.
    pub(crate) fn holds(&self, text: &str) -> Outcome<bool> {
        Ok(holds(&std::fs::read(&self.file)?, text))
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Outcome<Heard> {
        let process = self.tshark.id().map(|id| id.to_string()).unwrap_or_default();
        Command::new("kill").args(["-INT", &process]).status().await?;
        tokio::time::timeout(Duration::from_secs(20), self.tshark.wait()).await??;
        let octets = std::fs::read(&self.file)?;
        Ok(Heard { file: self.file, octets })
    }
}

fn unavailable(why: &str) -> Outcome<Option<Capture>> {
    if std::env::var("AVOUCH_REQUIRE_DOCKER").is_ok_and(|value| value == "1") {
        return Err(Failure::new(format!("the wire cannot be listened to: {why}")));
    }
    eprintln!("SKIPPED listening on the wire: {why}. What goes over it was not looked at.");
    Ok(None)
}

impl Heard {
    /// Every handshake was TLS 1.3, and there were at least so many.
    pub(crate) fn only_tls_1_3(&self, at_least: usize) -> Outcome {
        let hellos = self.fields("tls.handshake.type == 2", "tls.handshake.extensions.supported_version")?;
        ensure(hellos.len() >= at_least, format!("{} handshakes only: {hellos:?}", hellos.len()))?;
        let other = hellos.iter().find(|version| *version != "0x0304");
        ensure(other.is_none(), format!("a handshake of another version than TLS 1.3: {other:?}"))
    }

    /// The capture does not hold this text.
    pub(crate) fn says_nothing_of(&self, text: &str) -> Outcome {
        ensure(!holds(&self.octets, text), format!("'{text}' can be read on the wire"))
    }

    fn fields(&self, filter: &str, field: &str) -> Outcome<Vec<String>> {
        let output = std::process::Command::new("tshark")
            .arg("-r")
            .arg(&self.file)
            // Ports tell nothing here: TLS is what looks like it.
            .args(["-o", "tcp.try_heuristic_first:TRUE"])
            .args(["-Y", filter, "-T", "fields", "-e", field])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(output.status.success(), format!("reading the capture: {said}"))?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(found.split_whitespace().map(str::to_owned).collect())
    }
}

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}
