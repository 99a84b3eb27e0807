//! Source networks, by which peers are counted: an IPv4 address, or the /56 of an IPv6 address.
//!
//! Providers usually assign a whole /56 to one site (RFC 6177), whose hosts then choose among 256 networks of 2^64
//! addresses: with a longer prefix one customer would count as many peers. The holder of a /48 still counts as 256.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The leading bits that the addresses of one IPv6 network share.
const V6_PREFIX: u32 = 56;

/// A source network, for limits and for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    /// An IPv4 address that is mapped into IPv6 counts as what it is.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let rest = Ipv6Addr::BITS - V6_PREFIX;
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> rest << rest))
            }
            v4 => v4,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/{V6_PREFIX}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn one_site_is_one_network_however_many_addresses_it_has() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_eq!(network("2001:db8::1"), network("2001:db8:0:ff::1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:100::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_site_with_a_48_is_no_more_than_256_networks() {
        let addresses = (0..=u16::MAX).map(|subnet| Ipv6Addr::new(0x2001, 0xdb8, 7, subnet, 1, 2, 3, 4));
        let networks: std::collections::HashSet<_> =
            addresses.map(|address| Network::from(IpAddr::V6(address))).collect();
        assert_eq!(networks.len(), 256);
    }

    #[test]
    fn a_network_is_written_as_what_it_covers() {
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(network("2001:db8::7").to_string(), "2001:db8::/56");
    }
}
