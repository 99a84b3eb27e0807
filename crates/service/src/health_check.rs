//! `--health`: asks the running process of the same configuration whether it is ready. For images without a shell or an
//! HTTP client.
//!
//! It reads the configuration to find the plain health port, and nothing else: no policy, no identity, no key.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::address_file::Addresses;
use crate::config::{Config, ConfigError};
use crate::launch_options::LaunchOptions;

/// How long the running process may take for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest answer that is read; a valid one is a single line.
const LONGEST: u64 = 16 * 1024;

/// Why a process does not count as ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HealthCheckError {
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system chooses the port, and no address file tells which one.
    #[error(
        "[health] listen lets the system choose a port: give it one, or name a file with [service] address_file"
    )]
    NoFixedPort,
    /// The address file cannot be read: nothing serves yet.
    #[error("nothing serves yet: {path} cannot be read")]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The health port does not answer.
    #[error("the health port {address} does not answer")]
    Silent {
        /// The address of the health port.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The process says that it is not ready, or something else answered.
    #[error("{0}")]
    NotReady(String),
}

impl HealthCheckError {
    /// Whether the user can fix it by changing flags or configuration.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::NoFixedPort)
    }
}

/// Asks `/readyz`; returns the text of the answer if the process is ready.
pub(crate) fn ask(name: &'static str, launch: &LaunchOptions) -> Result<String, HealthCheckError> {
    let address = address(&Config::load(name, launch)?)?;
    let answer = get(address).map_err(|source| HealthCheckError::Silent { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1);
    let said = body.trim().to_owned();
    match status {
        Some("200") => Ok(said),
        Some("503") => Err(HealthCheckError::NotReady(said)),
        _ => Err(HealthCheckError::NotReady(format!("{address} is no health port of this service"))),
    }
}

/// The address at which the running process's health port can be reached from this host.
fn address(config: &Config) -> Result<SocketAddr, HealthCheckError> {
    let mut address = config.health_listen;
    if address.port() == 0 {
        let path = config.service.address_file.clone().ok_or(HealthCheckError::NoFixedPort)?;
        let told = Addresses::read(&path);
        address = told.map_err(|source| HealthCheckError::AddressFile { path, source })?.health;
    }
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::launch_options::Flags;

    fn launch(settings: &[String]) -> LaunchOptions {
        LaunchOptions {
            flags: Flags { set: settings.to_vec(), ..Flags::default() },
            ..LaunchOptions::default()
        }
    }

    fn listen(address: impl std::fmt::Display) -> String {
        format!("health.listen={address}")
    }

    /// Serves `answer` to one request; returns the address.
    fn twin(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn ready_is_200_and_everything_else_is_not() {
        for (answer, said) in [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", Ok("ready")),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: draining\n", Err("not ready: draining")),
            ("HTTP/1.1 404 Not Found\r\n\r\nready\n", Err("is no health port")),
            ("SSH-2.0-OpenSSH_9.2\r\n", Err("is no health port")),
            ("", Err("is no health port")),
        ] {
            let outcome = ask("orders", &launch(&[listen(twin(answer))])).map_err(|error| error.to_string());
            match said {
                Ok(said) => assert_eq!(outcome.as_deref(), Ok(said)),
                Err(part) => assert!(outcome.as_ref().is_err_and(|why| why.contains(part)), "{outcome:?}"),
            }
        }
    }

    #[test]
    fn a_port_where_nobody_listens_is_not_ready() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask("orders", &launch(&[listen(free)])).unwrap_err();
        assert!(matches!(error, HealthCheckError::Silent { .. }) && !error.is_usage(), "{error}");
    }

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        for (listens, asked) in [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:8080", "[::1]:8080")] {
            let config = Config::load("orders", &launch(&[listen(listens)])).unwrap();
            assert_eq!(address(&config).unwrap().to_string(), asked);
        }
    }

    #[test]
    fn a_port_of_the_systems_choice_is_found_in_the_address_file_or_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("address.json");
        let error = ask("orders", &launch(&[])).unwrap_err();
        assert!(matches!(error, HealthCheckError::NoFixedPort) && error.is_usage(), "{error}");

        let named = launch(&[format!("service.address_file={}", path.display())]);
        let error = ask("orders", &named).unwrap_err();
        assert!(matches!(error, HealthCheckError::AddressFile { .. }) && !error.is_usage(), "{error}");

        let health = twin("HTTP/1.1 200 OK\r\n\r\nready\n");
        Addresses { grpc: health, health, pid: 7 }.write(&path).unwrap();
        assert_eq!(ask("orders", &named).unwrap(), "ready");
    }
}
