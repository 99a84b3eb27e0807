//! Checks the addresses that a process listens on or advertises: those that it could not bind or that peers could not
//! use.

use std::net::{IpAddr, SocketAddr};

use avouch_spiffe::HostPort;
use avouch_spiffe::host_port::{is_group, with_brackets};

use super::error::ConfigFault;

/// An address to listen on. Port 0 lets the system choose.
pub(super) fn listen(key: &str, text: Option<&str>) -> Result<SocketAddr, ConfigFault> {
    let text = text.unwrap_or("127.0.0.1:0");
    let wrong = || match with_brackets(text) {
        Some(meant) => {
            let expected = format!("an IPv6 address needs brackets before its port: write {meant}");
            ConfigFault::value(key, text, expected)
        }
        None => {
            let expected = "must be an IP address and a port, like 127.0.0.1:7001 or [::]:7001";
            ConfigFault::value(key, text, expected)
        }
    };
    let address: SocketAddr = text.parse().map_err(|_| wrong())?;
    if is_group(address.ip()) {
        let expected = "is the address of a group (multicast or broadcast), where TCP does not listen";
        return Err(ConfigFault::value(key, text, expected));
    }
    Ok(address)
}

/// Refuses two listeners on the same port: the second could not be bound.
pub(super) fn apart(
    (key, address): (&str, SocketAddr),
    (other_key, other): (&str, SocketAddr),
) -> Result<(), ConfigFault> {
    if collide(address, other) {
        let expected = format!("is taken by {other_key} = {other}: each listener needs a port of its own");
        return Err(ConfigFault::value(key, address, expected));
    }
    Ok(())
}

/// Whether Linux, with its default settings, refuses to bind both: `[::]` includes the IPv4 addresses.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let takes_in = |all: IpAddr, some: IpAddr| all.is_unspecified() && (all.is_ipv6() || some.is_ipv4());
    one.port() != 0 && one.port() == other.port() && (a == b || takes_in(a, b) || takes_in(b, a))
}

/// An address that is advertised to others.
pub(super) fn advertised(key: &str, text: &str) -> Result<(), ConfigFault> {
    text.parse()
        .and_then(|address: HostPort| address.usable())
        .map_err(|error| ConfigFault::value(key, text, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn listeners_that_exclude_each_other_are_told_from_those_that_do_not() {
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "[::]:1"),
            ("[::]:1", "[::1]:1"),
            ("[::]:1", "0.0.0.0:1"),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1"),
        ] {
            assert!(collide(address(one), address(other)), "{one} {other}");
            assert!(collide(address(other), address(one)), "{other} {one}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("127.0.0.1:1", "[::1]:1"),
            ("0.0.0.0:1", "[::1]:1"),
        ] {
            assert!(!collide(address(one), address(other)), "{one} {other}");
            assert!(!collide(address(other), address(one)), "{other} {one}");
        }
    }
}
