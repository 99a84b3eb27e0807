//! Who is called where: what callers are configured to expect against what callees advertise.

use avouch_api::observe::v1::Upstream;
use avouch_fleet::{Fleet, Member};
use avouch_spiffe::HostPort;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The workload at the address that an upstream names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reached<'a> {
    /// Whom it expects.
    Expected,
    /// Somebody else: its SPIFFE ID.
    Other(&'a str),
    /// Nobody; but whom it expects advertises this, at another port of the same host.
    OtherPort(&'a str),
    /// Nobody who is known; names and balancers may stand in between.
    Unknown,
}

/// Looks up whom `upstream` reaches.
pub(crate) fn find<'a>(fleet: &'a Fleet, upstream: &Upstream) -> Reached<'a> {
    let Some(at) = address(authority(&upstream.url)) else { return Reached::Unknown };
    let there = || fleet.members.iter().filter(|member| listens_at(member, at));
    if there().any(|member| member.workload.spiffe_id == upstream.spiffe_id) {
        return Reached::Expected;
    }
    if let Some(member) = there().next() {
        return Reached::Other(&member.workload.spiffe_id);
    }
    let expected = fleet.members.iter().filter(|member| member.workload.spiffe_id == upstream.spiffe_id);
    let mut advertised = expected.flat_map(addresses);
    let same_host = |text: &&str| address(text).is_some_and(|other| other.ip() == at.ip());
    advertised.find(same_host).map_or(Reached::Unknown, Reached::OtherPort)
}

/// Whether a member is to be reached at `at`.
pub(crate) fn listens_at(member: &Member, at: SocketAddr) -> bool {
    addresses(member).any(|text| address(text) == Some(at))
}

fn addresses(member: &Member) -> impl Iterator<Item = &str> {
    let advertised = member.workload.addresses.iter().map(String::as_str);
    std::iter::once(member.address.as_str()).chain(advertised)
}

/// The `HOST:PORT` of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

/// An address that needs no name to be looked up, in the one form of it.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let address: HostPort = text.parse().ok()?;
    let localhost = (address.host() == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Some(SocketAddr::new(address.ip().or(localhost)?.to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::*;

    #[test]
    fn an_upstream_is_compared_with_who_advertises_its_address() {
        let fleet = fleet();
        let find = |url: &str, id: &str| {
            find(&fleet, &Upstream { name: String::new(), url: url.to_owned(), spiffe_id: id.to_owned() })
        };
        assert_eq!(find("https://127.0.0.1:7001", LEDGER), Reached::Expected);
        assert_eq!(find("https://localhost:7001/x", LEDGER), Reached::Expected);
        assert_eq!(find("https://[::ffff:127.0.0.1]:7001", LEDGER), Reached::Expected);
        assert_eq!(find("https://127.0.0.1:7004", LEDGER), Reached::Other(ORDERS));
        assert_eq!(find("https://127.0.0.1:7999", LEDGER), Reached::OtherPort("127.0.0.1:7001"));
        assert_eq!(find("https://10.0.0.1:7001", LEDGER), Reached::Unknown);
        assert_eq!(find("https://ledger.market.svc:7001", LEDGER), Reached::Unknown);
        assert_eq!(find("", LEDGER), Reached::Unknown);
    }
}
