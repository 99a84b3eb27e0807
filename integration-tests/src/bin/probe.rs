//! A minimal network peer: listens, or dials another container by name and reads one line. Standard library only, so
//! that a failure points to the container engine or the image, never to avouch.
//!
//!     probe listen PORT LINE     answers every connection with LINE
//!     probe dial HOST:PORT       prints what it is answered, and as whom it runs
//!     probe fill PATH BYTES      makes a file of so many bytes, or of as many as the disk has room for
//!     probe stat PATH            owner and mode

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// The allocation unit of the file system: a full disk never has less than this left over.
const BLOCK: usize = 4_096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["listen", port, line] => listen(port, line),
        ["dial", address] => dial(address),
        ["fill", path, bytes] => fill(path, bytes),
        ["stat", path] => stat(path),
        _ => {
            let _ = writeln!(
                io::stderr(),
                "usage: probe listen PORT LINE | dial HOST:PORT | fill PATH BYTES | stat PATH"
            );
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

/// Prints how long the file has become.
fn fill(path: &str, bytes: &str) -> io::Result<()> {
    let bytes: u64 = bytes.parse().map_err(|_| io::Error::other(format!("'{bytes}' is not a number")))?;
    let mut file = std::fs::File::create(path)?;
    let mut written = 0;
    while written < bytes {
        let next = usize::try_from(bytes - written).unwrap_or(BLOCK).min(BLOCK);
        match file.write(&vec![b'x'; next]) {
            Ok(length) => written += length as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error),
        }
    }
    file.sync_all()?;
    writeln!(io::stdout(), "{written}")
}

fn stat(path: &str) -> io::Result<()> {
    let it = std::fs::symlink_metadata(path)?;
    let mode = it.permissions().mode() & 0o7777;
    writeln!(io::stdout(), "{}:{} {mode:04o}", it.uid(), it.gid())
}
