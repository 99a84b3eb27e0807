//! The smallest peer there is: listens, or dials another container by its name and reads one line. Standard library
//! only, so that a failure says something about the engine or the image, never about avouch.
//!
//!     probe listen PORT LINE     answers every connection with LINE
//!     probe dial HOST:PORT       prints what it is answered, and as whom it runs

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["listen", port, line] => listen(port, line),
        ["dial", address] => dial(address),
        _ => {
            let _ = writeln!(io::stderr(), "usage: probe listen PORT LINE | probe dial HOST:PORT");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen(port: &str, line: &str) -> io::Result<()> {
    let port: u16 = port.parse().map_err(|_| io::Error::other(format!("'{port}' is not a port")))?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    writeln!(io::stdout(), "{{\"message\":\"listening\",\"port\":{port}}}")?;
    for connection in listener.incoming() {
        writeln!(connection?, "{line}")?;
    }
    Ok(())
}

fn dial(address: &str) -> io::Result<()> {
    let resolved = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("'{address}' has no address")))?;
    let mut connection = TcpStream::connect_timeout(&resolved, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let user = std::fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().next().map(str::to_owned))
        .unwrap_or_default();
    writeln!(io::stdout(), "{} uid={user}", answer.trim_end())
}
