//! `HOST:PORT`: an address to connect to.
//!
//! One grammar for configurations, command lines and what workloads advertise: an IPv4 address, an IPv6 address in
//! brackets (RFC 3986 §3.2.2, with a zone after `%` if it has one), or a name, and a port from 1 to 65535. A name is
//! letters, digits, `-`, `_` (container names have it) and dots; one of other alphabets is written in its ASCII form
//! (`xn--…`, RFC 5890). Refuses an IPv6 address without brackets, since its port cannot be told from its last group, and
//! a number that only old resolvers take for an address (`127.1`, `0`), since others read it differently.
//!
//! Parsing does not check whether a client could connect to the address; [`HostPort::usable`] does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name (RFC 1035 §2.3.4, without the root's dot).
const MAX_NAME: usize = 253;
/// The longest part of a name between dots.
const MAX_LABEL: usize = 63;
/// The longest zone that is read; interface names of Linux have 15 octets.
const MAX_ZONE: usize = 64;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The host, without the brackets of an IPv6 address.
    host: String,
    ip: Option<IpAddr>,
    port: u16,
}

/// The error of a text that is no `HOST:PORT`, or one that nobody could connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// The text has no port.
    #[error("must be HOST:PORT, and has no port")]
    NoPort,
    /// The port is no number from 1 to 65535.
    #[error("must be HOST:PORT with a port from 1 to 65535")]
    Port,
    /// The text has no host before the port.
    #[error("must be HOST:PORT, and has no host")]
    NoHost,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address needs brackets before its port: write {0}")]
    Unbracketed(String),
    /// The text in brackets is not an IPv6 address.
    #[error("only an IPv6 address stands in brackets, like [::1]:7001")]
    Brackets,
    /// A number that is no IPv4 address.
    #[error("an IPv4 address has four numbers from 0 to 255 without leading zeros, like 127.0.0.1")]
    Ipv4,
    /// The host has a character that no name has.
    #[error(
        "a host is a name of letters, digits, - and _ with dots, an IPv4 address, or an IPv6 address in brackets; \
         a name of other alphabets is written as xn--…"
    )]
    Character,
    /// The name is longer than DNS takes, or has an empty part.
    #[error("a name has parts of 1 to 63 characters, and 253 altogether")]
    NameLength,
    /// The address stands for every address of a machine.
    #[error("{0} stands for every address of a machine, and nobody can connect to it: name one address")]
    Unspecified(IpAddr),
    /// The address of a group.
    #[error("{0} is the address of a group (multicast or broadcast), and TCP does not connect to one")]
    Group(IpAddr),
}

impl HostPort {
    /// The host: a name or an address, one of IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether the host is a loopback address, or the name `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip.map_or(self.host == "localhost", |ip| ip.to_canonical().is_loopback())
    }

    /// Rejects an address that nobody could connect to: one that stands for all, or for a group.
    ///
    /// # Errors
    /// [`HostPortError::Unspecified`] and [`HostPortError::Group`].
    pub fn usable(&self) -> Result<(), HostPortError> {
        match self.ip {
            Some(ip) if ip.to_canonical().is_unspecified() => Err(HostPortError::Unspecified(ip)),
            Some(ip) if is_group(ip) => Err(HostPortError::Group(ip)),
            _ => Ok(()),
        }
    }
}

/// Whether an address is that of a group: TCP neither listens there nor connects to it.
#[must_use]
pub fn is_group(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// The spelling that was meant by an IPv6 address without brackets, with or without a port; `None` for any other text.
#[must_use]
pub fn with_brackets(text: &str) -> Option<String> {
    // As it stands, the last group is the port. Where nothing is left of an address then, there is none.
    let (host, port) = text.rsplit_once(':')?;
    if ipv6(host).is_ok() {
        return Some(format!("[{host}]:{port}"));
    }
    ipv6(text).is_ok().then(|| format!("[{text}]:PORT"))
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        if let Some(meant) = with_brackets(text) {
            return Err(HostPortError::Unbracketed(meant));
        }
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError::NoPort)?;
        if host.starts_with('[') && !host.ends_with(']') {
            return Err(if text.ends_with(']') { HostPortError::NoPort } else { HostPortError::Brackets });
        }
        let port = parse_port(port).ok_or(HostPortError::Port)?;
        let (host, ip) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => (inner, Some(IpAddr::V6(ipv6(inner)?))),
            None => (host, ipv4_or_name(host)?.map(IpAddr::V4)),
        };
        Ok(Self { host: host.to_owned(), ip, port })
    }
}

/// `parse` for numbers takes a sign, which no port has.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// An IPv6 address with or without a zone (RFC 6874).
fn ipv6(inner: &str) -> Result<Ipv6Addr, HostPortError> {
    let (address, zone) =
        inner.split_once('%').map_or((inner, None), |(address, zone)| (address, Some(zone)));
    let is_zone = |zone: &str| {
        (1..=MAX_ZONE).contains(&zone.len())
            && zone.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
    };
    if zone.is_some_and(|zone| !is_zone(zone)) {
        return Err(HostPortError::Brackets);
    }
    address.parse().map_err(|_| HostPortError::Brackets)
}

/// The IPv4 address that `host` is; `None` where it is a name.
fn ipv4_or_name(host: &str) -> Result<Option<Ipv4Addr>, HostPortError> {
    if host.is_empty() {
        return Err(HostPortError::NoHost);
    }
    if !host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)) {
        return Err(HostPortError::Character);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > MAX_NAME || name.split('.').any(|label| !(1..=MAX_LABEL).contains(&label.len())) {
        return Err(HostPortError::NameLength);
    }
    // No top-level domain is a number (RFC 3696 §2): the resolver would take it for a part of an address.
    if name.rsplit('.').next().is_some_and(is_number) {
        return host.parse().map(Some).map_err(|_| HostPortError::Ipv4);
    }
    Ok(None)
}

/// Digits, or a hexadecimal number as `inet_aton` takes it.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_hexdigit()),
        None => label.bytes().all(|c| c.is_ascii_digit()),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HostPort, HostPortError> {
        text.parse()
    }

    #[test]
    fn names_and_addresses_are_read_and_written_the_same() {
        for (text, host, port) in [
            ("localhost:7001", "localhost", 7001),
            ("orders.market.example:443", "orders.market.example", 443),
            ("orders.market.example.:443", "orders.market.example.", 443),
            ("market_orders_1:7001", "market_orders_1", 7001),
            ("xn--mnchen-3ya.example:1", "xn--mnchen-3ya.example", 1),
            ("3com.example:80", "3com.example", 80),
            ("10.0.0.1:65535", "10.0.0.1", 65535),
            ("[::1]:443", "::1", 443),
            ("[fe80::1%eth0]:7001", "fe80::1%eth0", 7001),
            ("[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1),
            ("0.0.0.0:1", "0.0.0.0", 1),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!((parsed.host(), parsed.port(), parsed.to_string().as_str()), (host, port, text));
        }
    }

    #[test]
    fn every_clause_has_its_refusal() {
        let long = format!("{}:1", "a".repeat(64));
        let longer = format!("{}:1", ["abc"; 64].join("."));
        for (text, error) in [
            ("", HostPortError::NoPort),
            ("orders", HostPortError::NoPort),
            ("[::1]", HostPortError::NoPort),
            ("orders:", HostPortError::Port),
            ("orders:0", HostPortError::Port),
            ("orders:65536", HostPortError::Port),
            ("orders:+1", HostPortError::Port),
            ("orders:-1", HostPortError::Port),
            ("orders:1/", HostPortError::Port),
            ("orders:http", HostPortError::Port),
            ("orders: 1", HostPortError::Port),
            (":7001", HostPortError::NoHost),
            ("[a]:1", HostPortError::Brackets),
            ("[127.0.0.1]:1", HostPortError::Brackets),
            ("[]:1", HostPortError::Brackets),
            ("[::1:1", HostPortError::Brackets),
            ("[fe80::1%]:1", HostPortError::Brackets),
            ("[fe80::1%a b]:1", HostPortError::Brackets),
            ("256.0.0.1:1", HostPortError::Ipv4),
            ("127.1:1", HostPortError::Ipv4),
            ("010.0.0.1:1", HostPortError::Ipv4),
            ("0:1", HostPortError::Ipv4),
            ("0x7f000001:1", HostPortError::Ipv4),
            ("1.2.3.4.:1", HostPortError::Ipv4),
            ("a b:1", HostPortError::Character),
            ("a/b:1", HostPortError::Character),
            ("user@orders:1", HostPortError::Character),
            ("https://orders:1", HostPortError::Character),
            ("a:b:1", HostPortError::Character),
            ("münchen:1", HostPortError::Character),
            ("a\n:1", HostPortError::Character),
            ("a..b:1", HostPortError::NameLength),
            (".a:1", HostPortError::NameLength),
            (".:1", HostPortError::NameLength),
            (&long, HostPortError::NameLength),
            (&longer, HostPortError::NameLength),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_ipv6_address_without_brackets_is_refused_with_what_was_meant() {
        for (text, meant) in [
            ("::1:7001", "[::1]:7001"),
            ("fe80::1:7001", "[fe80::1]:7001"),
            (":::7001", "[::]:7001"),
            ("::1", "[::1]:PORT"),
            ("2001:db8::1", "[2001:db8::1]:PORT"),
            ("2001:db8:0:0:0:0:0:1:7001", "[2001:db8:0:0:0:0:0:1]:7001"),
            ("fe80::1%eth0:7001", "[fe80::1%eth0]:7001"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, HostPortError::Unbracketed(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_address_nobody_could_connect_to_is_not_usable() {
        for text in
            ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1"]
        {
            assert!(parse(text).unwrap().usable().is_err(), "{text}");
        }
        for text in ["127.0.0.1:1", "[::1]:1", "orders:1", "[fe80::1%eth0]:1", "169.254.1.1:1"] {
            assert_eq!(parse(text).unwrap().usable(), Ok(()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_read_again(text in ".{0,60}") {
            if let Ok(parsed) = parse(&text) {
                let again: HostPort = parsed.to_string().parse().unwrap();
                proptest::prop_assert_eq!(again.host(), parsed.host());
            }
        }
    }
}
