//! OpenSSL as the peer of a handshake: its own test programs, `openssl s_server` and `openssl s_time`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use avouch_files::pem::encode;

use crate::bench::Bench;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::{CALLER_CORE, SERVER_CORE, directory, free_address};
use crate::peers::Installed;
use crate::pki::{CALLER, SERVER};
use crate::run::warn;

/// The time that `s_time` opens connections for; it takes whole seconds.
const SECONDS: u32 = 1;

/// The longest time until `s_time` has told its result.
const ANSWER: Duration = Duration::from_secs(10);

/// A server, and what it takes to start clients.
pub(super) struct OpenSsl {
    installed: Installed,
    server: Child,
    client: Launch,
    dir: PathBuf,
}

impl OpenSsl {
    /// A server with this key-exchange group; or why there is none, as a note for the table.
    ///
    /// # Errors
    /// When the server does not start.
    pub(super) fn start(
        bench: &Bench,
        installed: Installed,
        group: &str,
    ) -> Result<Result<Self, String>, Error> {
        if !has_group(&installed, group) {
            let note = format!("SKIPPED: OpenSSL: {} has no {group}, install OpenSSL 3.5", installed.version);
            warn(&note);
            return Ok(Err(note));
        }
        let dir = directory(bench, "OpenSSL")?;
        let (pki, address) = (&bench.pki, free_address()?);
        let connect = address.to_string();
        let [intermediate, trusted] = ["intermediate.pem", "trusted.pem"].map(|name| dir.join(name));
        let pem = [&bench.ca.intermediate, &bench.ca.root].map(|der| encode("CERTIFICATE", der));
        let [authority, root] = pem;
        // The client sends its leaf alone: it has no option for a chain, and to complete it from what it trusts would
        // verify it once more. The server trusts the intermediate too, and checks as many signatures for it.
        for (path, text) in [(&trusted, authority.clone() + &root), (&intermediate, authority)] {
            std::fs::write(path, text).map_err(Error::system(format!("write {}", path.display())))?;
        }
        let server = Launch::new("OpenSSL server", &installed.program)
            .args(["s_server", "-quiet", "-tls1_3", "-num_tickets", "0", "-groups", group])
            .args(["-Verify", "3", "-verify_return_error", "-verify_quiet", "-accept", &connect])
            .arg("-CAfile")
            .arg(&trusted)
            .arg("-cert")
            .arg(pki.chain(SERVER))
            .arg("-cert_chain")
            .arg(&intermediate)
            .arg("-key")
            .arg(pki.key(SERVER));
        let mut server = server.core(SERVER_CORE).start(&bench.dir)?;
        server.listens(address.port())?;
        let client = Launch::new("OpenSSL client", &installed.program)
            .args(["s_time", "-new", "-tls1_3", "-verify", "3", "-connect", &connect])
            .args(["-time", &SECONDS.to_string(), "-CAfile"])
            .arg(pki.root())
            .arg("-cert")
            .arg(pki.chain(CALLER))
            .arg("-key")
            .arg(pki.key(CALLER))
            .core(CALLER_CORE);
        Ok(Ok(Self { installed, server, client, dir: bench.dir.clone() }))
    }

    /// The name of the variant.
    pub(super) fn name(&self) -> String {
        format!("OpenSSL {}, over TCP", self.installed.version)
    }

    /// Opens connections for a second: the CPU time of both ends of each, in microseconds.
    pub(super) fn measure(&self) -> Result<Vec<f64>, Error> {
        let before = self.server.cpu();
        let mut client = self.client.clone().start(&self.dir)?;
        let connections = loop {
            if let Some(connections) = connections(&client.line(ANSWER)?) {
                break connections;
            }
        };
        let cpu = self.server.cpu().saturating_sub(before) + client.cpu();
        client.end()?;
        Ok(vec![cpu.as_secs_f64() * 1e6 / connections])
    }
}

fn has_group(installed: &Installed, group: &str) -> bool {
    // Groups that are key encapsulations are listed as such; X25519 has been there for ever.
    let listed = Command::new(&installed.program).args(["list", "-kem-algorithms"]).output();
    group == "X25519" || listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(group))
}

/// How many connections `s_time` has opened, if this is the line that tells it.
fn connections(line: &str) -> Option<f64> {
    let (count, rest) = line.split_once(" connections in ")?;
    let count: u32 = count.parse().ok()?;
    (rest.contains("real seconds") && count > 0).then(|| f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_from_the_line_with_the_real_time() {
        let told = [
            "Collecting connection statistics for 1 seconds",
            "*****",
            "",
            "243 connections in 0.42s; 578.57 connections/user sec, bytes read 0",
            "243 connections in 2 real seconds, 0 bytes read per connection",
        ];
        let found: Vec<_> = told.into_iter().filter_map(connections).collect();
        assert_eq!(found, [243.0]);
        assert_eq!(connections("0 connections in 2 real seconds, 0 bytes"), None);
    }
}
