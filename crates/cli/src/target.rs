//! `HOST:PORT`, and how it is told from a file.

use avouch_spiffe::HostPort;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name or an address; one of IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: HostPort = text.parse().map_err(|error| {
            format!("{text:?} is no HOST:PORT: {error}; write for example localhost:7001 or [::1]:7001")
        })?;
        Ok(Self { host: address.host().to_owned(), port: address.port() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What a command is to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
    Host(Target),
}

impl Source {
    /// A file that exists wins, whatever its name looks like: looking into a file opens no connection.
    pub(crate) fn of(text: &Path) -> Self {
        if text.as_os_str() == "-" {
            return Self::Stdin;
        }
        let host = || text.to_str().and_then(|text| text.parse().ok());
        match text.symlink_metadata() {
            Ok(_) => Self::File(text.to_owned()),
            Err(_) => host().map_or_else(|| Self::File(text.to_owned()), Self::Host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_names_and_addresses_have_a_port_and_nothing_else() {
        for (text, host, port) in
            [("localhost:7001", "localhost", 7001), ("10.0.0.1:1", "10.0.0.1", 1), ("[::1]:443", "::1", 443)]
        {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port, target.to_string().as_str()), (host, port, text));
        }
        for text in [
            "",
            "localhost",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:-1",
            "a/b:1",
            "::1:443",
            "[a]:1",
            "a b:1",
            "https://a:1",
            "[::1]",
            "a:1/",
            "-:x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_existing_file_wins_over_a_host_and_a_missing_one_stays_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let odd = temp.path().join("a:1");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(Source::of(&odd), Source::File(odd.clone()));
        assert_eq!(Source::of(Path::new("-")), Source::Stdin);
        assert!(matches!(Source::of(Path::new("no-such-host.invalid:1")), Source::Host(_)));
        assert!(matches!(Source::of(Path::new("no/such/orders.pem")), Source::File(_)));
    }
}
