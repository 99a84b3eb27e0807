//! Which of the addresses that workloads advertise are dialled.
//!
//! An operator asks with more rights, and from another place, than the workload that wrote the address. Where that place
//! answers to everybody who is on it (a cloud's metadata service, whatever listens on the loopback or is one hop away),
//! a workload could have it asked by the operator. So an address is judged before it is dialled, and a name by what it
//! resolves to: the address that is dialled is one that was judged, however often the name's answer changes. What a
//! person has typed is not judged.

use avouch_spiffe::HostPort;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::lookup_host;

/// The timeout for a resolver.
const RESOLVER: Duration = Duration::from_secs(2);
/// The most addresses of one name that are tried.
const MOST_TRIED: usize = 4;
/// The most addresses of one name that are examined, since the name's owner chooses how many there are.
const MOST_LOOKED_AT: usize = 64;

/// The addresses at which clouds answer questions about a machine and hand out its credentials, beside the link-local
/// 169.254.169.254.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The addresses that are dialled beside the ordinary ones.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Loopback addresses: where the issuer itself is on one, workloads are on the same machine.
    pub(crate) loopback: bool,
}

/// The kind of an address that is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Unspecified,
    Loopback,
    LinkLocal,
    Metadata,
    Group,
    Reserved,
}

impl Refused {
    fn text(self) -> &'static str {
        match self {
            Self::Unspecified => "no address of any machine",
            Self::Loopback => "a loopback address, and the issuer is not on one",
            Self::LinkLocal => "a link-local address, where clouds serve a machine's credentials",
            Self::Metadata => "an address where a cloud serves a machine's credentials",
            Self::Group => "the address of a group",
            Self::Reserved => "a reserved address",
        }
    }
}

impl Admission {
    /// Why an address is not dialled.
    pub(crate) fn refuses(self, ip: IpAddr) -> Option<Refused> {
        let ip = embedded(ip);
        match ip {
            _ if METADATA.contains(&ip) => Some(Refused::Metadata),
            IpAddr::V4(v4) => self.refuses_v4(v4),
            IpAddr::V6(v6) => self.refuses_v6(v6),
        }
    }

    fn refuses_v4(self, ip: Ipv4Addr) -> Option<Refused> {
        match ip.octets() {
            // All of 0.0.0.0/8: Linux connects to this machine by it.
            [0, ..] => Some(Refused::Unspecified),
            [127, ..] => (!self.loopback).then_some(Refused::Loopback),
            [169, 254, ..] => Some(Refused::LinkLocal),
            [224..=239, ..] | [255, 255, 255, 255] => Some(Refused::Group),
            [240..=255, ..] => Some(Refused::Reserved),
            _ => None,
        }
    }

    fn refuses_v6(self, ip: Ipv6Addr) -> Option<Refused> {
        match ip {
            Ipv6Addr::UNSPECIFIED => Some(Refused::Unspecified),
            Ipv6Addr::LOCALHOST => (!self.loopback).then_some(Refused::Loopback),
            _ if ip.is_multicast() => Some(Refused::Group),
            _ if ip.is_unicast_link_local() => Some(Refused::LinkLocal),
            _ => None,
        }
    }

    /// The reason, in one line, why a workload that advertises `address` is not asked, where it is known without DNS.
    pub(crate) fn refuses_literally(self, address: &HostPort) -> Option<String> {
        let ip = address.ip()?;
        self.refuses(ip).map(|why| not_asked(address, ip, why))
    }

    /// The addresses at which to ask who advertises `address`, in the order in which to try them.
    ///
    /// # Errors
    /// Why it is not asked, in one line.
    pub(crate) async fn resolve(self, address: &HostPort) -> Result<Vec<SocketAddr>, String> {
        if let Some(ip) = address.ip() {
            return self.admitted(address, [SocketAddr::new(ip, address.port())]);
        }
        let resolved = tokio::time::timeout(RESOLVER, lookup_host((address.host(), address.port()))).await;
        match resolved {
            Ok(Ok(found)) => self.admitted(address, found),
            Ok(Err(error)) => Err(format!("{} has no address: {error}", address.host())),
            Err(_elapsed) => Err(format!("the resolver does not answer for {}", address.host())),
        }
    }

    fn admitted(
        self,
        address: &HostPort,
        found: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, String> {
        let mut admitted: Vec<SocketAddr> = Vec::new();
        let mut refused = None;
        for found in found.into_iter().take(MOST_LOOKED_AT) {
            match self.refuses(found.ip()) {
                Some(why) => refused = refused.or(Some((found.ip(), why))),
                None if admitted.contains(&found) || admitted.len() >= MOST_TRIED => {}
                None => admitted.push(found),
            }
        }
        match refused {
            _ if !admitted.is_empty() => Ok(admitted),
            Some((ip, why)) => Err(not_asked(address, ip, why)),
            None => Err(format!("{} has no address", address.host())),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for, by being mapped, compatible (RFC 4291 §2.5.5), translated (RFC 6052
/// §2.1) or a 6to4 prefix (RFC 3056 §2); any other as it is.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // `::` and `::1` are their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => IpAddr::V6(v6),
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => IpAddr::V6(v6),
    }
}

fn not_asked(address: &HostPort, ip: IpAddr, why: Refused) -> String {
    let leads = match address.ip() {
        Some(_) => format!("{ip} is"),
        None => format!("{} leads to {ip},", address.host()),
    };
    format!("not asked: {leads} {}; `--workload {address}=SPIFFE_ID` asks there all the same", why.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: Admission = Admission { loopback: false };
    const HERE: Admission = Admission { loopback: true };

    #[test]
    fn what_every_machine_has_for_itself_is_not_dialled_however_it_is_written() {
        use Refused::*;
        for (ip, away, here) in [
            ("10.0.0.1", None, None),
            ("192.0.2.1", None, None),
            ("100.64.0.1", None, None),
            ("2001:db8::1", None, None),
            ("fd00::1", None, None),
            ("fd00:ec2::253", None, None),
            ("64:ff9b::a00:1", None, None),
            ("0.0.0.0", Some(Unspecified), Some(Unspecified)),
            ("0.0.0.1", Some(Unspecified), Some(Unspecified)),
            ("::", Some(Unspecified), Some(Unspecified)),
            ("::ffff:0.0.0.0", Some(Unspecified), Some(Unspecified)),
            ("127.0.0.1", Some(Loopback), None),
            ("127.255.255.254", Some(Loopback), None),
            ("::1", Some(Loopback), None),
            ("::ffff:127.0.0.1", Some(Loopback), None),
            ("::127.0.0.1", Some(Loopback), None),
            ("64:ff9b::127.0.0.1", Some(Loopback), None),
            ("169.254.0.1", Some(LinkLocal), Some(LinkLocal)),
            ("169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
            ("169.254.255.255", Some(LinkLocal), Some(LinkLocal)),
            ("::ffff:169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
            ("::169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
            ("64:ff9b::169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
            ("2002:a9fe:a9fe::1", Some(LinkLocal), Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal), Some(LinkLocal)),
            ("febf:ffff::1", Some(LinkLocal), Some(LinkLocal)),
            ("fd00:ec2::254", Some(Metadata), Some(Metadata)),
            ("fd20:ce::254", Some(Metadata), Some(Metadata)),
            ("100.100.100.200", Some(Metadata), Some(Metadata)),
            ("::ffff:192.0.0.192", Some(Metadata), Some(Metadata)),
            ("224.0.0.1", Some(Group), Some(Group)),
            ("239.255.255.255", Some(Group), Some(Group)),
            ("255.255.255.255", Some(Group), Some(Group)),
            ("::ffff:224.0.0.1", Some(Group), Some(Group)),
            ("ff02::1", Some(Group), Some(Group)),
            ("240.0.0.1", Some(Reserved), Some(Reserved)),
        ] {
            let parsed: IpAddr = ip.parse().unwrap();
            assert_eq!((AWAY.refuses(parsed), HERE.refuses(parsed)), (away, here), "{ip}");
        }
    }

    fn address(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_a_name_only_the_admitted_addresses_are_dialled_and_without_any_it_is_said_why() {
        let name = address("orders.market.example:7001");
        let both = sockets(&["169.254.169.254:7001", "10.0.0.1:7001", "10.0.0.1:7001", "[fe80::1]:7001"]);
        assert_eq!(AWAY.admitted(&name, both), Ok(sockets(&["10.0.0.1:7001"])));
        let rebound = AWAY.admitted(&name, sockets(&["127.0.0.1:7001", "169.254.169.254:7001"]));
        assert_eq!(
            rebound.unwrap_err(),
            "not asked: orders.market.example leads to 127.0.0.1, a loopback address, and the issuer is not on one; \
             `--workload orders.market.example:7001=SPIFFE_ID` asks there all the same"
        );
        assert_eq!(AWAY.admitted(&name, []).unwrap_err(), "orders.market.example has no address");
    }

    #[test]
    fn a_name_with_very_many_addresses_costs_a_few_attempts() {
        let many = (0..5_000_u32).map(|n| SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 7001));
        assert_eq!(AWAY.admitted(&address("a:7001"), many).unwrap().len(), MOST_TRIED);
    }

    #[tokio::test]
    async fn an_address_is_judged_without_a_resolver_and_a_name_by_what_it_resolves_to() {
        let metadata = AWAY.resolve(&address("169.254.169.254:80")).await.unwrap_err();
        assert!(metadata.starts_with("not asked: 169.254.169.254 is a link-local address"), "{metadata}");
        let zone = AWAY.resolve(&address("[fe80::1%lo]:80")).await.unwrap_err();
        assert!(zone.contains("fe80::1") && zone.contains("link-local"), "{zone}");
        assert!(AWAY.resolve(&address("localhost:80")).await.unwrap_err().contains("localhost leads to"));
        assert!(HERE.resolve(&address("localhost:80")).await.is_ok());
        assert_eq!(AWAY.resolve(&address("[2001:db8::1]:80")).await, Ok(sockets(&["[2001:db8::1]:80"])));
    }
}
